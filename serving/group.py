"""The workers that serve one weights version of a model, and the calls that wait for them.

Runs in the front. Who gets which call is decided in `dispatch.py`; here workers are started,
loaded, and started again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from ..errors import ModelUnavailable, ModelyardError, PluginFailed
from ..models_plugin.plugin import PluginSource
from ..schemas.description import ModelDescription
from ..schemas.transport import RequestData
from .call import Call, Slot
from .crashes import PAUSE_S, Crashes
from .dispatch import Dispatcher
from .exits import DEADLINE, ENDED, Exit
from .messages import Described, Load, Start, WeightsRef
from .observer import Observer
from .options import ServedOptions
from .process import WorkerProcess

log = logging.getLogger(__name__)

_BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Waking(Protocol):
    """Says when a group that was put to sleep may load its workers again."""

    @property
    def crowded(self) -> bool:
        """True if too many are loading for one more."""
        ...

    def waking(self, group: WorkerGroup) -> AbstractAsyncContextManager[None]:
        """For the block that loads."""
        ...


class Unhurried:
    """Nothing else is loading."""

    crowded = False

    def waking(self, group: WorkerGroup) -> AbstractAsyncContextManager[None]:
        return nullcontext()


Starter = Callable[[Callable[[WorkerProcess], None]], WorkerProcess]


class WorkerGroup:
    """Workers of one model with one weights version (`ref` None: loaded without weights).

    `load` False makes a group that describes and validates and cannot predict: the model has no
    weights yet. `on_lost` is told when no worker is up and its version cannot be loaded any more,
    and why; it is tried again and again until the group is closed.
    """

    def __init__(
        self,
        source: PluginSource,
        options: ServedOptions,
        start: Starter,
        ref: WeightsRef | None,
        load: bool,
        on_described: Callable[[ModelDescription], None],
        observer: Observer,
        waking: Waking | None = None,
        on_lost: Callable[[WorkerGroup, ModelyardError], None] | None = None,
    ) -> None:
        self.model = source.name
        self.ref = ref
        self.size = 0
        self.load = load
        self._source = source
        self._options = options
        self._start = start
        self._on_described = on_described
        self._slots = [Slot() for _ in range(options.workers if load else 1)]
        self.calls = Dispatcher(source.name, options, self._slots, observer)
        self.calls.version = None if ref is None else ref.id
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._opening = False
        self._crashes = Crashes(options.workers)
        self._waking = waking or Unhurried()
        self._on_lost = on_lost
        self.problem: str | None = None
        """Why no worker could be loaded, the last time that it was tried."""
        self._asleep = False
        self._woken_at: float | None = None

    # -- lifetime -----------------------------------------------------------------------------

    async def open(self, spare: WorkerProcess | None = None) -> None:
        """Starts the workers; returns when the first is loaded. Raises what stopped it.

        `spare` is a process that has imported the plugin already; the first slot takes it over.
        """
        first, *others = self._slots
        self._opening = True
        try:
            await self._fill(first, spare)
        finally:
            self._opening = False
        for slot in others:
            self._spawn(self._refill(slot))

    async def assign(self, ref: WeightsRef | None) -> None:
        """Loads a version into a group that had none: nobody predicts with it yet.

        Raises what stopped it; a worker that died is replaced, by one without weights.
        """
        assert not self.load
        self._opening = True
        try:
            self.wake()
            process = await self._imported()
            await self._load(process, ref)
            process.check()
        finally:
            self._opening = False
        self.ref, self.load = ref, True
        self.calls.version = None if ref is None else ref.id
        self._slots[0].loaded = True
        while len(self._slots) < self._options.workers:
            self._slots.append(Slot())
            self._spawn(self._refill(self._slots[-1]))
        self.calls.dispatch()

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
        await self.calls.drain()

    async def close(self, why: str = "The model is being unloaded.") -> None:
        """Ends the workers; calls that are still here fail with `why`."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self.calls.fail_waiting(ModelUnavailable(why))
        processes = [slot.process for slot in self._slots if slot.process is not None]
        await asyncio.gather(*(process.close() for process in processes))
        # What they had not answered would be tried again, by others.
        self.calls.fail_waiting(ModelUnavailable(why))

    @property
    def idle(self) -> bool:
        return self.calls.idle

    @property
    def ready(self) -> bool:
        return any(slot.loaded for slot in self._slots)

    @property
    def can_answer(self) -> bool:
        """True if a call that comes now is answered, if it has to wait for a load."""
        return self.ready or self._asleep

    @property
    def crash_loop(self) -> str | None:
        """Told in words while workers die again and again."""
        if not self._crashes.loop(self._loop.time()):
            return None
        return self._crashes.told(next((s.last_exit for s in self._slots if s.last_exit), None))

    @property
    def version(self) -> str | None:
        """The id of its weights."""
        return None if self.ref is None else self.ref.id

    # -- asleep -------------------------------------------------------------------------------

    @property
    def asleep(self) -> bool:
        """True from when its workers were ended for memory until one is loaded again."""
        return self._asleep

    @property
    def can_sleep(self) -> bool:
        """True if nobody waits for anything here."""
        settled = not (self._tasks or self._opening or self._asleep or self._closing)
        return settled and self.idle and all(slot.process for slot in self._slots)

    async def sleep(self) -> None:
        """Ends the workers; what was learnt of them stays. The next call loads them again."""
        self._asleep = True
        processes = [slot.process for slot in self._slots if slot.process is not None]
        for slot in self._slots:
            slot.process, slot.loaded = None, False
        await asyncio.gather(*(process.close() for process in processes))

    def wake(self) -> None:
        """Begins to load the workers again, if they are asleep."""
        if self._asleep and self._woken_at is None and not self._closing:
            self._woken_at = self.calls.used_at = self._loop.time()
            self._spawn(self._wake())

    async def _wake(self) -> None:
        first, *others = self._slots
        async with self._waking.waking(self):
            loaded = await self._filled(first)
        for slot in others if loaded else self._slots:
            self._spawn(self._refill(slot))

    def _wake_for(self, timeout_s: float) -> None:
        """Wakes it for a call. Raises ModelUnavailable if that takes longer than the call may."""
        if self._woken_at is None and self._waking.crowded:
            raise ModelUnavailable(
                "The model is unloaded, and too many others are being loaded.", self._load_s or 2.0
            )
        self.wake()
        left = self._load_s - (self._loop.time() - (self._woken_at or 0.0))
        if left > timeout_s:
            raise ModelUnavailable(
                f"The model was unloaded for memory and is being loaded again, which took "
                f"{self._load_s:.1f} s the last time.",
                left,
            )

    @property
    def _load_s(self) -> float:
        return max(slot.load_s for slot in self._slots)

    def _awake(self) -> None:
        self._asleep, self._woken_at = False, None

    def pids(self) -> list[int]:
        """The processes that are there, loading ones too."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def processes(self) -> list[WorkerProcess]:
        """Those that can answer questions now."""
        processes = [slot.process for slot in self._slots if slot.process is not None]
        return [process for process in processes if process.alive and process.imported]

    def workers(self) -> list[dict[str, Any]]:
        """What an operator may want to know, as plain data."""
        return [
            {
                "pid": slot.process.pid if slot.process is not None else None,
                "state": "unloaded" if self._asleep and not slot.loaded else slot.state,
                "weights": self.version,
                "restarts": slot.restarts,
                "last_exit": slot.last_exit,
            }
            for slot in self._slots
        ]

    # -- calls --------------------------------------------------------------------------------

    def submit(
        self, request: RequestData, folder: Path | str, timeout_s: float, items: int = 1
    ) -> Call:
        """The call, on its way. Raises Busy and ModelUnavailable."""
        if self._closing:
            raise ModelUnavailable("The workers of this version are being ended.", 1.0)
        if self._asleep:
            self._wake_for(timeout_s)
        elif self.crash_loop is not None and not self.ready:
            raise ModelUnavailable(self.crash_loop, PAUSE_S)
        return self.calls.submit(request, folder, timeout_s, items)

    # -- workers ------------------------------------------------------------------------------

    async def _fill(self, slot: Slot, spare: WorkerProcess | None = None) -> None:
        """Puts a loaded worker into the slot. Raises what stopped it; the slot is empty then."""
        process = spare
        if process is None:
            process = self._start(lambda ended: self._ended(slot, ended))
        else:
            process.on_end = lambda ended: self._ended(slot, ended)
        slot.process, slot.filling = process, True
        began = self._loop.time()
        try:
            if not process.imported:
                await self.import_plugin(process)
            if self.load:
                await self._load(process, self.ref)
            process.check()
        except BaseException:
            slot.process = None
            await asyncio.shield(process.close(0.0))
            raise
        finally:
            slot.filling = False
        slot.loaded, slot.load_s = self.load, self._loop.time() - began
        self.calls.used_at = self.calls.used_at or self._loop.time()
        self._awake()
        self.calls.dispatch()

    async def import_plugin(self, process: WorkerProcess) -> None:
        """Has it import and describe the plugin. Raises PluginFailed."""
        limit = self._options.load_timeout_s
        try:
            # Another interpreter has its own libraries; ours would come with other versions.
            path = [p for p in sys.path if p] if self._source.python is None else []
            start = Start(
                source=self._source.to_data(),
                path=path,
                memory_limit=self._options.memory_limit,
                answer_limit=self._options.answer_limit,
                temporary=None if process.temporary is None else str(process.temporary),
            )
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
            # What comes next, to this process, would wait behind it.
            process.kill(Exit(DEADLINE, "was killed: it did not load its weights in time"))
            await process.close(0.0)
            raise PluginFailed(
                f"Loading the weights took more than {limit:g} s (--load-timeout)."
            ) from None

    def _ended(self, slot: Slot, process: WorkerProcess) -> None:
        if slot.process is not process or self._closing:
            return
        slot.process, was_loaded, slot.loaded = None, slot.loaded, False
        ended = process.exit or Exit(ENDED, "ended")
        slot.last_exit = ended.words
        self._crashes.add(ended, self._loop.time())
        log.warning("worker ended", extra={"model": self._source.name, "why": slot.last_exit})
        if not process.dismissed:
            self._observer.worker_ended(self._source.name, ended.kind)
        if not slot.filling and (was_loaded or not self.load):
            slot.restarts += 1
            self._spawn(self._refill(slot))
        self.calls.dispatch()  # what came with the call that ended it may go to an idle one

    async def _refill(self, slot: Slot) -> None:
        """Fills a slot again until it holds; waits longer after each failure."""
        while not self._closing:
            await asyncio.sleep(self._pause(slot))
            if await self._filled(slot):
                return

    async def _filled(self, slot: Slot) -> bool:
        """Tries to fill it. If it cannot be, and no other worker is up, those who wait are told."""
        slot.failures += 1
        try:
            await self._fill(slot)
            self.problem = None
            return True
        except ModelyardError as error:
            slot.last_exit = told = error.message
            log.error("worker not loaded", extra={"model": self.model, "why": told})
            self._awake()
            if not self.ready:
                self.problem = told
                self.calls.fail_waiting(ModelUnavailable(told, self._pause(slot)))
                if self._on_lost is not None:
                    self._on_lost(self, error)
            return False

    def _pause(self, slot: Slot) -> float:
        wait = _BACKOFF_S[min(slot.failures, len(_BACKOFF_S) - 1)]
        return max(wait, PAUSE_S) if self._crashes.loop(self._loop.time()) else wait

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
