"""The workers that serve one weights version of a model, and the calls that wait for them.

Runs in the front. A worker gets what has gathered when it is free: an idle one answers at once, a
busy one batches by itself (if the plugin has a batched form).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import (
    DeadlineExceeded,
    ModelUnavailable,
    ModelyardError,
    PluginFailed,
    WorkerDied,
)
from ..models_plugin.plugin import PluginSource
from ..schemas.description import ModelDescription
from ..schemas.transport import RequestData
from .call import Call, Slot
from .messages import (
    Answered,
    Described,
    Load,
    Message,
    Predict,
    Prediction,
    Start,
    WeightsRef,
)
from .options import ServedOptions
from .process import WorkerProcess

log = logging.getLogger(__name__)

_BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 30.0
"""A worker that lived so long after loading starts anew at once when it dies."""


Starter = Callable[[Callable[[WorkerProcess], None]], WorkerProcess]


class WorkerGroup:
    """Workers of one model with one weights version (`ref` None: loaded without weights).

    `load` False makes a group that describes and validates and cannot predict: the model has no
    weights yet.
    """

    def __init__(
        self,
        source: PluginSource,
        options: ServedOptions,
        start: Starter,
        ref: WeightsRef | None,
        load: bool,
        on_described: Callable[[ModelDescription], None],
    ) -> None:
        self.ref = ref
        self.load = load
        self.used_at = 0.0
        self._source = source
        self._options = options
        self._start = start
        self._on_described = on_described
        self._slots = [Slot() for _ in range(options.workers if load else 1)]
        self._queue: deque[Call] = deque()
        self._max_batch = 1
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- lifetime -----------------------------------------------------------------------------

    async def open(self, spare: WorkerProcess | None = None) -> None:
        """Starts the workers; returns when the first is loaded. Raises what stopped it.

        `spare` is a process that has imported the plugin already; the first slot takes it over.
        """
        first, *others = self._slots
        await self._fill(first, spare)
        for slot in others:
            self._spawn(self._refill(slot))

    async def assign(self, ref: WeightsRef | None) -> None:
        """Loads a version into a group that had none: nobody predicts with it yet."""
        process = self._slots[0].process
        assert not self.load and process is not None
        await self._load(process, ref)
        self.ref, self.load = ref, True
        self._slots[0].loaded = True
        while len(self._slots) < self._options.workers:
            self._slots.append(Slot())
            self._spawn(self._refill(self._slots[-1]))
        self._dispatch()

    async def drain(self) -> None:
        """Returns when nothing waits or runs here any more."""
        while self._queue or any(slot.calls for slot in self._slots):
            await asyncio.sleep(0.05)

    async def close(self, why: str = "The model is being unloaded.") -> None:
        """Ends the workers; calls that are still here fail with `why`."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self._fail_waiting(ModelUnavailable(why))
        processes = [slot.process for slot in self._slots if slot.process is not None]
        await asyncio.gather(*(process.close() for process in processes))

    @property
    def idle(self) -> bool:
        return not self._queue and not any(slot.calls for slot in self._slots)

    @property
    def ready(self) -> bool:
        return any(slot.loaded for slot in self._slots)

    def processes(self) -> list[WorkerProcess]:
        """Those that can answer questions now."""
        return [s.process for s in self._slots if s.process is not None and s.process.alive]

    def workers(self) -> list[dict[str, Any]]:
        """What an operator may want to know, as plain data."""
        return [
            {
                "pid": slot.process.pid if slot.process is not None else None,
                "state": slot.state,
                "weights": self.ref.id if self.ref is not None else None,
                "restarts": slot.restarts,
                "last_exit": slot.last_exit,
            }
            for slot in self._slots
        ]

    # -- calls --------------------------------------------------------------------------------

    async def predict(self, request: RequestData, folder: Path, timeout_s: float) -> Prediction:
        """One call's answer; see `ModelHandle.predict`."""
        call = Call(request, folder, self._loop.create_future())
        call.timer = self._loop.call_later(timeout_s, self._expired, call, timeout_s)
        self.used_at = self._loop.time()
        self._queue.append(call)
        self._dispatch()
        return await call.future

    def _dispatch(self) -> None:
        """Hands waiting calls to free workers."""
        for slot in self._slots:
            if slot.loaded and not slot.calls and slot.process is not None and slot.process.alive:
                slot.calls = self._gather()
                if not slot.calls:
                    return
                self._send(slot, slot.process)

    def _gather(self) -> list[Call]:
        batch: list[Call] = []
        while self._queue and len(batch) < self._max_batch:
            if self._queue[0].future.done():  # its client has gone, or its time was over
                gone = self._queue.popleft()
                if gone.timer is not None:
                    gone.timer.cancel()
                continue
            if self._queue[0].alone and batch:
                break
            batch.append(self._queue.popleft())
            if batch[-1].alone:
                break
        return batch

    def _send(self, slot: Slot, process: WorkerProcess) -> None:
        last = slot.calls[-1]
        for call in list(slot.calls):
            call.slot, call.batched = slot, len(slot.calls) > 1
            message = Predict(
                request=call.request.to_data(),
                folder=str(call.folder),
                more=call is not last,
                body=call.request.body,
            )
            process.ask(message, lambda answer, c=call: self._answered(c, answer))  # type: ignore[misc]

    def _answered(self, call: Call, answer: Message | ModelyardError) -> None:
        slot = call.slot
        assert slot is not None
        slot.calls.remove(call)
        call.slot = None
        if isinstance(answer, WorkerDied) and call.batched and not call.future.done():
            call.alone = True
            self._queue.appendleft(call)
        elif isinstance(answer, Answered):
            weights = self.ref.id if self.ref is not None else None
            call.settle(
                Prediction(answer.content_type, answer.body, answer.path, answer.filename, weights)
            )
        elif isinstance(answer, ModelyardError):
            call.settle(answer)
        else:
            call.settle(PluginFailed(f"The model's process answered with {type(answer).__name__}."))
        if not slot.calls:
            self._dispatch()

    def _expired(self, call: Call, timeout_s: float) -> None:
        """The deadline: a call that waits is dropped; one that runs takes its worker along."""
        where = "in the queue" if call.slot is None else "in the model"
        call.timer = None
        if not call.future.done():
            call.future.set_exception(
                DeadlineExceeded(f"No answer within {timeout_s:g} s; the call was {where}.")
            )
        if call.slot is not None and call.slot.process is not None:
            # Python code cannot be interrupted from outside; the process can.
            call.slot.process.kill("was killed: a call in it passed its deadline")

    def _fail_waiting(self, error: ModelyardError) -> None:
        queue, self._queue = self._queue, deque()
        for call in queue:
            call.settle(error)

    # -- workers ------------------------------------------------------------------------------

    async def _fill(self, slot: Slot, spare: WorkerProcess | None = None) -> None:
        """Puts a loaded worker into the slot. Raises what stopped it; the slot is empty then."""
        process = spare
        if process is None:
            process = self._start(lambda ended: self._ended(slot, ended))
        else:
            process.on_end = lambda ended: self._ended(slot, ended)
        slot.process = process
        try:
            if spare is None:
                await self.import_plugin(process)
            if self.load:
                await self._load(process, self.ref)
        except BaseException:
            slot.process = None
            await asyncio.shield(process.close(0.0))
            raise
        slot.loaded = self.load
        slot.loaded_at = self._loop.time()
        self._dispatch()

    async def import_plugin(self, process: WorkerProcess) -> None:
        """Has it import and describe the plugin. Raises PluginFailed."""
        limit = self._options.load_timeout_s
        try:
            described = await process.question(Start(source=self._source.to_data()), limit)
        except TimeoutError:
            raise PluginFailed(
                f"Importing the model took more than {limit:g} s (--load-timeout)."
            ) from None
        assert isinstance(described, Described)
        description = ModelDescription.from_data(described.description)
        batched = "predict_batch" in description.capabilities
        self._max_batch = described.max_batch if batched else 1
        self._on_described(description)

    async def _load(self, process: WorkerProcess, ref: WeightsRef | None) -> None:
        limit = self._options.load_timeout_s
        folder = None if ref is None else str(ref.folder)
        try:
            await process.question(Load(weights=folder, device=self._options.device), limit)
        except TimeoutError:
            raise PluginFailed(
                f"Loading the weights took more than {limit:g} s (--load-timeout)."
            ) from None

    def _ended(self, slot: Slot, process: WorkerProcess) -> None:
        if slot.process is not process or self._closing:
            return
        slot.process, was_loaded, slot.loaded = None, slot.loaded, False
        slot.last_exit = process.exit_reason
        log.warning("worker ended", extra={"model": self._source.name, "why": slot.last_exit})
        if was_loaded or not self.load:
            slot.restarts += 1
            steady = self._loop.time() - slot.loaded_at > _STEADY_S
            slot.failures = 0 if steady else slot.failures
            self._spawn(self._refill(slot))

    async def _refill(self, slot: Slot) -> None:
        """Fills a slot again until it holds; waits longer after each failure."""
        while not self._closing:
            await asyncio.sleep(_backoff(slot))
            slot.failures += 1
            try:
                await self._fill(slot)
                return
            except ModelyardError as error:
                slot.last_exit = error.message
                if not self.ready:
                    self._fail_waiting(ModelUnavailable(error.message, _backoff(slot)))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _backoff(slot: Slot) -> float:
    return _BACKOFF_S[min(slot.failures, len(_BACKOFF_S) - 1)]
