"""Which version each model predicts with by default: it follows the aliases, without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from ..errors import Busy, NotFound, StorageUnavailable
from ..serving.messages import WeightsRef
from ..serving.pool import ServingPool
from ..storage.keeper import WeightsKeeper
from ..storage.weights import WeightsVersions

log = logging.getLogger(__name__)

_FIRST_S = 2.0
"""A model's first load waits so long for its files; then it goes on, and they follow."""
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Defaults:
    """`production`, else `latest`: brought here if it is only in the store, loaded, swapped in."""

    def __init__(self, versions: WeightsVersions, keeper: WeightsKeeper, pool: ServingPool) -> None:
        self._versions = versions
        self._keeper = keeper
        self._pool = pool
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    async def close(self) -> None:
        """Stops following."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def first(self, model: str) -> WeightsRef | None:
        """The version to begin with. Raises StorageUnavailable if it is not here: it follows."""
        version = await self._versions.default(model)
        if version is None:
            return None
        try:
            version = await self._keeper.local(version, _FIRST_S)
        except (Busy, StorageUnavailable) as error:
            self.follow([model])
            raise StorageUnavailable(error.message) from error
        return WeightsRef(version.id, version.folder)

    def follow(self, models: Iterable[str]) -> None:
        """An alias of these may have moved: their workers move too, in the background."""
        for model in models:
            if model not in self._pool:
                continue
            if model in self._tasks:
                self._again.add(model)
                continue
            task = self._tasks[model] = asyncio.ensure_future(self._follow(model))
            task.add_done_callback(partial(self._done, model))

    async def settle(self, model: str) -> None:
        """As `follow`, but returns when the worker has moved; what is not here follows later."""
        if model not in self._pool:
            return
        try:
            await self._move(model, _FIRST_S)
        except (Busy, NotFound, StorageUnavailable):
            self.follow([model])

    async def _follow(self, model: str) -> None:
        tries = 0
        while True:
            self._again.discard(model)
            try:
                await self._move(model, None)
            except NotFound:
                await asyncio.sleep(0)  # deleted meanwhile: the alias names another by now
                tries += 1
            except (Busy, StorageUnavailable) as error:
                pause = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                if tries == 0:
                    log.warning("the weights of %s are not here yet: %s", model, error.message)
                tries += 1
                await asyncio.sleep(pause)
            else:
                if model not in self._again:
                    return
                tries = 0

    async def _move(self, model: str, limit_s: float | None) -> None:
        handle = self._pool.get(model)
        version = await self._versions.default(model)
        if version is None or not handle.takes_weights:
            return
        async with self._keeper.holding(version):
            version = await self._keeper.local(version, limit_s)
            await handle.use_weights(WeightsRef(version.id, version.folder))

    def _done(self, model: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(model, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("the default of %s was not moved", model, exc_info=task.exception())
