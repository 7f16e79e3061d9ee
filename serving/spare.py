"""A process that has imported a model's plugin before its weights are there. Runs in the front."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..errors import ModelyardError
from .process import WorkerProcess

_SPARE_S = 120.0
"""A spare whose run published nothing after all is ended after so long."""


class Spare:
    """At most one such process; `start` makes one, with the plugin imported."""

    def __init__(self, start: Callable[[], Awaitable[WorkerProcess]]) -> None:
        self._start = start
        self._making: asyncio.Task[WorkerProcess] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def prepare(self) -> None:
        """Begins to make one if there is none."""
        if self._making is None:
            self._making = asyncio.ensure_future(self._start())
            self._keep(self._making)
            self._keep(asyncio.ensure_future(self._drop(self._making)))

    async def take(self) -> WorkerProcess | None:
        """The process, which is the caller's then; None if there is none that lives."""
        making, self._making = self._making, None
        if making is None:
            return None
        try:
            process = await making
        except ModelyardError:
            return None
        return process if process.alive else None

    async def close(self) -> None:
        """Ends it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        making = self._making
        if making is not None and not making.cancelled() and making.exception() is None:
            await making.result().close(0.0)

    async def _drop(self, making: asyncio.Task[WorkerProcess]) -> None:
        await asyncio.sleep(_SPARE_S)
        if self._making is making:
            process = await self.take()
            if process is not None:
                await process.close()

    def _keep(self, task: asyncio.Task[object]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
