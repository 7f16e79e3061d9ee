"""Who needs a weights version: workers that predict with it, runs that may ask for it."""

from __future__ import annotations

from ..records.needs import versions_of_runs
from ..records.store import RecordStore
from ..serving.pool import ServingPool


class WeightsUsers:
    """Asked before files go: by the cache, by retention, by a DELETE."""

    def __init__(self, store: RecordStore, pool: ServingPool) -> None:
        self._store = store
        self._pool = pool

    async def loaded(self) -> set[str]:
        """Ids of all versions in workers, also idle ones, and of those that runs may ask for."""
        workers = {one for handle in self._pool.all() for one in handle.versions}
        return workers | set(await self._of_runs())

    async def needed(self) -> set[str]:
        """The same without what is only kept warm."""
        workers = {one for handle in self._pool.all() for one in handle.needed_versions}
        return workers | set(await self._of_runs())

    async def why(self, model: str, version: str) -> str | None:
        """Why this version must stay, in words; None if nobody needs it."""
        run = (await self._of_runs()).get(version)
        if run is not None:
            return f"the run {run} may need it"
        if model in self._pool and version in self._pool.get(model).needed_versions:
            return "predictions use it"
        return None

    async def release(self, model: str, version: str) -> None:
        """Ends idle workers of a version that is about to go."""
        if model in self._pool:
            await self._pool.get(model).release(version)

    async def _of_runs(self) -> dict[str, str]:
        return await self._store.read(versions_of_runs)
