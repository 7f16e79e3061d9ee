"""Keeps the workers of all models within a number of bytes. Runs in the front.

Above it the groups of workers that were used longest ago are put to sleep, idle ones only; a call
wakes its group. What is used at this moment is never ended, so that one model alone may be larger.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from ..models_plugin.memory import pss_of
from .gate import LONGEST_TURN_S, LoadGate
from .group import WorkerGroup

log = logging.getLogger(__name__)

EVERY_S = 2.0
_COST = 20
"""At least so many times as long as looking takes there is none: it costs 1 to 10 ms a process."""
_LOADING = 4
"""Groups that may be woken at the same time; calls for more are refused."""
_IDLE_S = 1.0


class MemoryBudget:
    """`limit` is the bytes of PSS (proc(5), smaps_rollup) that all workers may have; 0: no limit.

    PSS counts a page that several processes share once in all: weights that replicas map from one
    file, and the libraries that were loaded before a fork.
    """

    def __init__(self, limit: int, gate: LoadGate) -> None:
        self._limit = limit
        self._gate = gate
        self._groups: Callable[[], Iterable[WorkerGroup]] = list
        self._waking: set[object] = set()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def watch(self, groups: Callable[[], Iterable[WorkerGroup]]) -> None:
        """Begins to look at these."""
        self._groups = groups
        if self._limit:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def crowded(self) -> bool:
        """True if so many groups are being woken that one more would only slow them. Those that
        take longer than a turn do not count: one whose model hangs may keep out no other."""
        return len(self._waking) >= _LOADING

    @asynccontextmanager
    async def waking(self, group: WorkerGroup) -> AsyncIterator[None]:
        """For the block that loads a group again: in its turn, and with room made before."""
        this = object()
        self._waking.add(this)
        try:
            async with self._gate.turn():
                over = asyncio.get_running_loop().call_later(
                    LONGEST_TURN_S, self._waking.discard, this
                )
                try:
                    await self._let_go(group.size)
                    yield
                finally:
                    over.cancel()
        finally:
            self._waking.discard(this)
            self._changed.set()

    async def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                async with asyncio.timeout(max(EVERY_S, pause)):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            began = time.perf_counter()
            try:
                await self._measure()
                await self._let_go(0)
            except Exception:
                log.exception("the memory of the workers was not looked at")
            pause = _COST * (time.perf_counter() - began)

    async def _measure(self) -> None:
        pids = {group: group.pids() for group in self._groups()}
        every = [pid for group in pids.values() for pid in group]
        sizes = await asyncio.to_thread(lambda: {pid: pss_of(pid) for pid in every})
        for group, own in pids.items():
            if own and not group.asleep:
                group.size = sum(sizes[pid] for pid in own)

    async def _let_go(self, more: int) -> None:
        """Puts groups to sleep until `more` bytes fit in, the least recently used ones first."""
        if not self._limit:
            return
        awake = [group for group in self._groups() if group.pids()]
        total = more + sum(group.size for group in awake)
        awake.sort(key=lambda group: group.calls.used_at)
        # The last one stays: it would be loaded again at once, and nothing were won.
        last = 0 if more else 1
        now = asyncio.get_running_loop().time()
        for group in awake[: len(awake) - last]:
            if total <= self._limit:
                return
            if group.can_sleep and group.calls.used_at < now - _IDLE_S:
                total -= group.size
                log.info(
                    "unloaded for memory", extra={"model": group.model, "weights": group.version}
                )
                await group.sleep()
