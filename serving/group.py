"""The workers that serve one weights version of a model, and the calls that wait for them.

Runs in the front. A worker gets what has gathered when it is free: an idle one answers at once, a
busy one batches by itself (if the plugin has a batched form).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import (
    Busy,
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
_SPARED_S = 1.0
"""A worker is not killed before it had so long: a client in a hurry is no reason to load anew."""
_ABANDONED_S = 5.0
"""At least so long may a call go on whose client has gone."""

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
        assert not self.load
        process = await self._imported()
        await self._load(process, ref)
        self.ref, self.load = ref, True
        self._slots[0].loaded = True
        while len(self._slots) < self._options.workers:
            self._slots.append(Slot())
            self._spawn(self._refill(self._slots[-1]))
        self._dispatch()

    async def _imported(self) -> WorkerProcess:
        """The first worker, once it has the plugin: it may just be starting anew."""
        try:
            async with asyncio.timeout(self._options.load_timeout_s):
                while not self.processes():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise PluginFailed(f"No worker is up: {self._slots[0].last_exit}.") from None
        return self.processes()[0]

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
        processes = [slot.process for slot in self._slots if slot.process is not None]
        return [process for process in processes if process.alive and process.imported]

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
        if len(self._queue) >= self._options.max_waiting:
            raise Busy(f"{len(self._queue)} calls wait for this model already.")
        call = Call(request, folder, self._loop.create_future(), timeout_s)
        call.timer = self._loop.call_later(timeout_s, self._expired, call)
        self.used_at = self._loop.time()
        self._queue.append(call)
        self._dispatch()
        try:
            return await call.future
        except asyncio.CancelledError:
            # Its client has gone: a call that waits gives up its place and its body.
            if call.slot is not None:
                self._abandon(call, call.slot)
            elif call in self._queue:
                self._queue.remove(call)
                call.timer.cancel()
            raise

    def _dispatch(self) -> None:
        """Hands waiting calls to free workers."""
        for slot in self._slots:
            if slot.loaded and not slot.calls and slot.process is not None and slot.process.alive:
                slot.calls = self._gather(slot.process.max_batch)
                if not slot.calls:
                    return
                self._send(slot, slot.process)

    def _gather(self, most: int) -> list[Call]:
        batch: list[Call] = []
        while self._queue and len(batch) < most:
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
        slot.sent_at = self._loop.time()
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
        if not isinstance(answer, WorkerDied):
            slot.failures = 0
            slot.sent_at = self._loop.time()  # of a batch that goes one by one, the next begins
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

    def _expired(self, call: Call) -> None:
        """The deadline: a call that waits is dropped; one that hangs takes its worker along.

        Its client is told in any case. But the time that it waited is not the worker's, which is
        killed only when it has worked for that long: else, whenever more calls come than it can
        answer, each would be killed just after it began.
        """
        slot = call.slot
        call.timer = None
        if not call.future.done():
            where = "in the queue" if slot is None else "in the model"
            call.future.set_exception(
                DeadlineExceeded(f"No answer within {call.timeout_s:g} s; the call was {where}.")
            )
        if slot is None:
            if call in self._queue:
                self._queue.remove(call)
        elif slot.process is not None:
            over = slot.sent_at + max(_SPARED_S, call.timeout_s) - self._loop.time()
            if over > 0:
                call.timer = self._loop.call_later(over, self._expired, call)
            else:
                # Python code cannot be interrupted from outside; the process can.
                slot.process.kill(
                    "was killed: a call in it passed its deadline, or its client had gone"
                )

    def _abandon(self, call: Call, slot: Slot) -> None:
        """Nobody wants this answer any more: it may not hold the worker for long.

        Ending it means a new worker. So it is given as long as that takes to load: then the calls
        that wait never wait more than twice as long as with the better choice.
        """
        if call.batched or call.timer is None:
            return
        now = self._loop.time()
        limit = max(_ABANDONED_S, slot.load_s)
        if call.timer.when() <= now + limit:
            return
        call.timer.cancel()
        call.timeout_s = now - slot.sent_at + limit
        call.timer = self._loop.call_later(limit, self._expired, call)

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
        began = self._loop.time()
        try:
            if not process.imported:
                await self.import_plugin(process)
            if self.load:
                await self._load(process, self.ref)
        except BaseException:
            slot.process = None
            await asyncio.shield(process.close(0.0))
            raise
        slot.loaded, slot.load_s = self.load, self._loop.time() - began
        self._dispatch()

    async def import_plugin(self, process: WorkerProcess) -> None:
        """Has it import and describe the plugin. Raises PluginFailed."""
        limit = self._options.load_timeout_s
        try:
            # Another interpreter has its own libraries; ours would come with other versions.
            path = [p for p in sys.path if p] if self._source.python is None else []
            start = Start(source=self._source.to_data(), path=path)
            described = await process.question(start, limit)
        except TimeoutError:
            raise PluginFailed(
                f"Importing the model took more than {limit:g} s (--load-timeout)."
            ) from None
        assert isinstance(described, Described)
        description = ModelDescription.from_data(described.description)
        batched = "predict_batch" in description.capabilities
        process.imported = True
        process.max_batch = described.max_batch if batched else 1
        self._on_described(description)

    async def _load(self, process: WorkerProcess, ref: WeightsRef | None) -> None:
        limit = self._options.load_timeout_s
        folder = None if ref is None else str(ref.folder)
        try:
            await process.question(
                Load(weights=folder, device=self._options.device, warm=self._options.warm), limit
            )
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
