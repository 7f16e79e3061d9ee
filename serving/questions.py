"""Describe and validate: asked of a worker beside its predictions. Runs in the front."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import ModelUnavailable, WorkerDied
from .messages import Describe, Validate
from .process import WorkerProcess

_LOOK_S = 0.02


class Questions:
    """Asks whichever worker of a model is up.

    `processes` tells those that can be asked now, None if the model has no workers at all;
    `unavailable` makes the error for that. `first_try` is set once the first load has ended.
    `on_silent` is told of one that has not answered in time.
    """

    def __init__(
        self,
        processes: Callable[[], list[WorkerProcess] | None],
        first_try: asyncio.Event,
        limit_s: float,
        unavailable: Callable[[], ModelUnavailable],
        on_silent: Callable[[WorkerProcess], None],
    ) -> None:
        self.closing = False
        self._processes = processes
        self._first_try = first_try
        self._limit_s = limit_s
        self._unavailable = unavailable
        self._on_silent = on_silent

    async def ask(self, message: Describe | Validate) -> Any:
        """The answer. Raises what the worker answers with, and ModelUnavailable."""
        limit = self._limit_s
        process: WorkerProcess | None = None
        try:
            async with asyncio.timeout(limit):
                while True:
                    process = None
                    process = await self._one()
                    try:
                        return await process.question(message, limit)
                    except WorkerDied:
                        if self.closing or not process.dismissed:
                            raise
                        await asyncio.sleep(_LOOK_S)  # another one takes its place: it is asked
        except TimeoutError:
            if process is not None:
                self._on_silent(process)
            if not self._processes():
                raise self._unavailable() from None
            raise ModelUnavailable(
                f"The model's process did not answer within {limit:g} s.", 5.0
            ) from None
        except WorkerDied as error:
            raise ModelUnavailable(error.message, 2.0) from None

    async def _one(self) -> WorkerProcess:
        """A process that answers questions; one that is being started is waited for."""
        await self._first_try.wait()
        while True:
            processes = self._processes()
            if processes is None:
                raise self._unavailable()
            hearing = [process for process in processes if not process.deaf]
            if hearing:
                return hearing[0]
            await asyncio.sleep(_LOOK_S)
