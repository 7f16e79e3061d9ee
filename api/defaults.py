"""Which version each model predicts with by default: it follows the aliases, without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial

from ..errors import Busy, DiskFull, ModelyardError, NotFound, StorageUnavailable
from ..records.aliases import LATEST
from ..serving.choices import Choice, Division
from ..serving.handle import ModelHandle
from ..serving.messages import WeightsRef
from ..serving.pool import ServingPool
from ..storage.keeper import WeightsKeeper
from ..storage.weights import PRODUCTION, WeightsVersion, WeightsVersions

log = logging.getLogger(__name__)

_FIRST_S = 2.0
"""A model's first load waits so long for its files; then it goes on, and they follow."""
_TRIED = 3
"""So many versions are tried where none was chosen: each may take minutes to load."""
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Defaults:
    """`production`, else `latest`, else what predictions used last: brought here if it is only in
    the store, loaded, swapped in.

    A model that has none of these gets the newest of its versions (imports, promotions) that can be
    loaded: tried in the background, when the model is up.
    """

    def __init__(self, versions: WeightsVersions, keeper: WeightsKeeper, pool: ServingPool) -> None:
        self._versions = versions
        self._keeper = keeper
        self._pool = pool
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._taking: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Stops following."""
        self._again.clear()
        tasks = [*self._tasks.values(), *self._taking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def choices(self, model: str) -> list[Choice]:
        """What to begin with. Raises StorageUnavailable if that is not here: it follows."""
        version = await self._versions.default(model)
        if version is None:
            self.follow([model])  # there may be what nobody has tried
            return []
        if await self._versions.split(model) is not None:
            self.follow([model])  # the others get their shares once this one is up
        try:
            version = await self._keeper.local(version, _FIRST_S)
        except (Busy, StorageUnavailable) as error:
            self.follow([model])
            raise StorageUnavailable(error.message) from error
        found = {version.id: Choice(_ref(version), PRODUCTION in version.aliases)}
        latest = await self._versions.find(model, LATEST)
        for other in [*([latest] if latest else []), *await self._versions.proven(model, _TRIED)]:
            if other.local:
                found.setdefault(other.id, Choice(_ref(other)))
        return list(found.values())

    async def taken(self, model: str, version: str) -> None:
        """Remembers what predictions use, for a time when no alias says it."""
        try:
            await self._versions.taken(version)
        except (DiskFull, StorageUnavailable) as error:
            log.warning("that %s predicts with %s is not recorded: %s", model, version, error)

    async def take(self, model: str, limit_s: float) -> None:
        """Has a model that has no weights yet take up what it should have: a prediction waits.

        Raises Busy if fetching or loading takes longer than `limit_s` (it goes on), and
        StorageUnavailable, NotFound.
        """
        if not self._pool.get(model).takes_weights:
            return
        taking = self._taking.get(model)
        if taking is None:
            taking = asyncio.ensure_future(self._move(model, None, again=False))
            self._taking[model] = taking
            taking.add_done_callback(partial(self._taken, model))
        done, _ = await asyncio.wait([taking], timeout=limit_s)
        if not done:
            raise Busy(f"The weights of the model {model!r} are being loaded.", 2.0)
        await taking

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

    async def _move(self, model: str, limit_s: float | None, again: bool = True) -> None:
        handle = self._pool.get(model)
        if not handle.takes_weights:
            return
        version = await self._versions.default(model)
        if version is not None:
            while version is not None and (again or not handle.refuses(version.id)):
                version = await self._use_default(handle, version, limit_s)
            await self._divide(handle, limit_s)
            return
        await handle.divide(None)
        for other in await self._versions.list(model, _TRIED):
            await handle.loaded()
            if not handle.refuses(other.id):
                await self._use(handle, other, limit_s)
            if handle.weights == other.id:
                return

    async def _use_default(
        self, handle: ModelHandle, version: WeightsVersion, limit_s: float | None
    ) -> WeightsVersion | None:
        """None once it is used; else the one that is to be used instead: an alias was moved while
        the files came, and whoever followed it may have gone before."""
        async with self._keeper.holding(version):
            version = await self._keeper.local(version, limit_s)
            now = await self._versions.default(handle.name)
            if now is not None and now.id != version.id:
                return now
            await handle.use_weights(_ref(version))
            return None

    async def _use(
        self, handle: ModelHandle, version: WeightsVersion, limit_s: float | None
    ) -> None:
        async with self._keeper.holding(version):
            version = await self._keeper.local(version, limit_s)
            await handle.use_weights(_ref(version))

    async def _divide(self, handle: ModelHandle, limit_s: float | None) -> None:
        """Gives the versions beside the default their shares, once they are here and warm.

        Raises Busy or StorageUnavailable for what is not here yet, when the others have theirs.
        """
        split = await self._versions.split(handle.name)
        if split is None:
            await handle.divide(None)
            return
        refs: dict[str, WeightsRef] = {}
        problems: list[ModelyardError] = []
        async with AsyncExitStack() as holding:
            for name in split.versions:
                try:
                    version = await self._versions.get(handle.name, name)
                    await holding.enter_async_context(self._keeper.holding(version))
                    refs[name] = _ref(await self._keeper.local(version, limit_s))
                except (Busy, NotFound, StorageUnavailable) as error:
                    problems.append(error)
            if split.shares[0][0] in refs:
                shares = [(refs[name], weight) for name, weight in split.shares if name in refs]
                told = " ".join(error.message for error in problems) or None
                shadow = refs.get(split.shadow or "")
                await handle.divide(Division(tuple(shares), shadow, split.shadow_share, told))
        later = [problem for problem in problems if not isinstance(problem, NotFound)]
        if later:
            raise later[0]

    def _done(self, model: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(model, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("the default of %s was not moved", model, exc_info=task.exception())
        if model in self._again:  # it was moved just when this one ended
            self._again.discard(model)
            self.follow([model])

    def _taken(self, model: str, task: asyncio.Task[None]) -> None:
        self._taking.pop(model, None)
        if not task.cancelled():
            task.exception()  # told to those who wait, if anybody does


def _ref(version: WeightsVersion) -> WeightsRef:
    return WeightsRef(version.id, version.folder)
