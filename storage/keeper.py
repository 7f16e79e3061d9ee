"""What becomes of weights versions beyond this disk: published, fetched, deleted, let go.

Runs in the server. Without a shared store all this is about the folder alone: a version is `ready`
at once, and here as long as it is listed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection

from ..errors import Conflict, ModelyardError, NotFound
from ..records.aliases import forget_stored
from ..records.store import RecordStore
from ..records.weights import (
    WeightsRecord,
    fetched_weights,
    find_weights,
    forget_store,
    insert_weights,
    models_with_weights,
    settle_weights,
    stored_weights,
    unstored_weights,
    update_weights,
)
from .aliases import kept_by_aliases, named_by, naming_in_words
from .cache import FetchedBundle, StoreCache
from .office import StorageOffice
from .publishing import Publisher, PublishState, can_retry
from .retention import Retention
from .versions import manifest_from
from .weights import (
    PUBLISHING,
    READY,
    WeightsVersion,
    WeightsVersions,
    record_of,
    weights_key,
)

log = logging.getLogger(__name__)

ASKED_FOR = ("import", "promotion")
"""Origins of versions that a person made by hand: published also if they were deleted before."""


class Users(Protocol):
    """Who needs weights versions."""

    async def loaded(self) -> set[str]:
        """The ids of those whose files somebody may read, also for a worker that is kept warm."""
        ...

    async def needed(self) -> set[str]:
        """The ids of those that have to stay."""
        ...

    async def release(self, model: str, version: str) -> None:
        """This version is about to go: whoever keeps it warm lets go of it."""
        ...


class WeightsKeeper:
    """Keeps the versions of `versions` where they are meant to be.

    `office` and `publisher` are None without a store. `users` know who needs a version now;
    `on_stored` is called when the store has a version more. `policies` are by model.
    """

    kind = "weights"

    def __init__(
        self,
        versions: WeightsVersions,
        store: RecordStore,
        office: StorageOffice | None,
        publisher: Publisher | None,
        cache: StoreCache,
        users: Users,
        on_stored: Callable[[], None],
        policies: Mapping[str, Retention],
    ) -> None:
        self._versions = versions
        self._store = store
        self._office = office
        self._publisher = publisher
        self._cache = cache
        self._users = users
        self._on_stored = on_stored
        self._policies = policies
        self._retaining = asyncio.Lock()
        cache.add_shelf(self)
        versions.bring_with(self.local)

    async def start(self) -> None:
        """Publishes what the store does not have yet. Without a store everything is `ready`."""
        shared = self._publisher is not None
        await self._store.write(lambda c: settle_weights(c, PUBLISHING if shared else READY))
        if shared:
            for record in await self._store.read(unstored_weights):
                self._publish(record.model, record.id, record.attempts)

    # -- for the API ------------------------------------------------------------------------------

    async def added(self, version: WeightsVersion) -> None:
        """A version is listed that was not: it is published, and older ones may go."""
        self.publish(version)
        await self.retain(version.model)

    def publish(self, version: WeightsVersion) -> None:
        """Begins to publish a version that is here; nothing happens if the store has it."""
        if not version.stored:
            undelete = version.origin in ASKED_FOR
            self._publish(version.model, version.id, version.attempts, undelete)

    async def local(self, version: WeightsVersion, limit_s: float | None = None) -> WeightsVersion:
        """The version with its files here: fetched from the store if they are not.

        Raises Busy if that takes longer than `limit_s` (it goes on), StoreUnavailable, Corrupt,
        DiskFull, and NotFound if it was deleted meanwhile.
        """
        if version.local and not (version.stored and not version.folder.is_dir()):
            if version.fetched:
                await self._cache.touch(self, version.id)
            return version
        await self._cache.bring(self, version.key, version.id, version.size, limit_s)
        return await self._versions.get(version.model, version.id)

    def holding(self, *versions: WeightsVersion) -> AbstractAsyncContextManager[None]:
        """The files of these stay while the block runs, whatever the cache has to drop."""
        return self._cache.holding(version.id for version in versions)

    async def delete(self, version: WeightsVersion) -> None:
        """Removes a version here and, first, in the store. The caller knows that nobody needs it.

        Raises Conflict if an alias set by hand names it by now, and StoreUnavailable (then nothing
        is changed): deleted only here it would come back.
        """
        going = self._versions.going
        going[version.id] += 1
        try:
            await self._check_unnamed(version)
            await self._delete(version)
        finally:
            going[version.id] -= 1
            if not going[version.id]:
                del going[version.id]

    async def _check_unnamed(self, version: WeightsVersion) -> None:
        """After it was said that the version goes: an alias that is moved later is refused."""
        names = await self._store.read(lambda c: named_by(c, version.model, version.id))
        if names:
            why = naming_in_words(names)
            raise Conflict(f"The version {version.id} cannot be deleted: {why}.")

    async def _delete(self, version: WeightsVersion) -> None:
        if self._publisher is not None:
            await self._publisher.remove(version.key)
        try:
            if self._office is not None and (version.stored or version.attempts):
                await self._office.delete(version.key)
        except BaseException:
            if not version.stored or version.state == PUBLISHING:
                self._publish(version.model, version.id, version.attempts, mend=version.stored)
            raise
        await self._users.release(version.model, version.id)
        await self._versions.forget(version.id)

    async def retry(self, version: WeightsVersion) -> WeightsVersion:
        """Tries now to publish what could not be. What the store has is read again there, and
        mended where it is missing or wrong; until then it is `publishing`, and used as before.

        Raises Conflict if the store has it and this disk has not, and where there is no store (then
        the conflict has the detail `store`).
        """
        here = version.local and version.folder.is_dir()
        publisher = can_retry(self._publisher, "version", version.stored, here)
        # The state first: it keeps a copy that was fetched from being dropped.
        values = {"state": PUBLISHING, "reason": None}
        await self._store.write(lambda c: update_weights(c, version.id, **values))
        if not publisher.retry(version.key):
            self._publish(version.model, version.id, version.attempts, mend=version.stored)
        return await self._versions.get(version.model, version.id)

    def sent(self, version: WeightsVersion) -> tuple[int, int] | None:
        """Bytes done and in all, while the version is being published or fetched."""
        publishing = None if self._publisher is None else self._publisher.progress(version.key)
        return publishing or self._cache.progress(version.key)

    # -- retention --------------------------------------------------------------------------------

    async def retain(self, model: str) -> None:
        """Deletes what the model's policy lets go; what cannot be deleted now goes another time."""
        policy = self._policies.get(model)
        if policy is None or policy.keep_last is None:
            return
        async with self._retaining:
            kept = await self._store.read(lambda c: kept_by_aliases(c, model))
            kept |= await self._users.needed()
            for version in policy.excess(await self._versions.list(model), kept):
                try:
                    await self.delete(version)
                except (ModelyardError, OSError) as error:
                    log.warning("%s is not let go yet: %s", version.key, error)
                    return
                log.info("let go of %s (keep_last=%d)", version.key, policy.keep_last)

    async def retain_all(self) -> None:
        """`retain` for every model that has a policy."""
        for model in self._policies:
            await self.retain(model)

    # -- publishing -------------------------------------------------------------------------------

    def _publish(
        self,
        model: str,
        version_id: str,
        attempts: int,
        undelete: bool = False,
        mend: bool = False,
    ) -> None:
        if self._publisher is None:
            return

        async def on_state(how: PublishState) -> None:
            stored = {"stored": True} if how.state == READY else {}
            values = {
                "state": how.state,
                "reason": how.reason,
                "attempts": how.attempts,
                **stored,
            }
            await self._store.write(lambda c: update_weights(c, version_id, **values))
            if stored:
                self._on_stored()
                await self.retain(model)

        folder = self._versions.root / version_id
        key = weights_key(model, version_id)
        self._publisher.add(self.kind, key, folder, on_state, attempts, undelete, mend)

    # -- what the store tells (a Mirror of `sync.py`) ---------------------------------------------

    def keys(self, connection: Connection) -> list[str]:
        """The keys of the versions that the store has, as far as is known."""
        return [weights_key(model, one) for model, one in stored_weights(connection)]

    def upsert(self, connection: Connection, key: str, manifest: Mapping[str, Any]) -> None:
        """Somebody published this. Raises BadVersion for a manifest that is none."""
        told = manifest_from(manifest, key)
        known = find_weights(connection, told.id)
        if known is None:
            record: WeightsRecord = record_of(told, state=READY, local=False, stored=True)
            insert_weights(connection, record)
        elif not known.stored and not known.local:
            update_weights(connection, told.id, stored=True)

    async def deleted(self, key: str) -> str | None:
        """Somebody deleted this; returns the model whose version it was, if it was here."""
        version_id = key.rpartition("/")[2]
        record = await self._store.read(lambda c: find_weights(c, version_id))
        if record is None or not record.stored:
            return None
        if self._publisher is not None:  # it may be being mended
            await self._publisher.remove(key)
        await self._users.release(record.model, version_id)
        await self._versions.forget(version_id)
        return record.model

    def forget_store(self, connection: Connection) -> None:
        """The store is another one: what only the old one had is not here any more."""
        forget_store(connection)
        forget_stored(connection)

    def models(self, connection: Connection) -> list[str]:
        """The models that have versions."""
        return models_with_weights(connection)

    # -- what the cache may drop (a Shelf of `cache.py`) ------------------------------------------

    @property
    def root(self) -> Path:
        return self._versions.root

    async def fetched(self) -> list[FetchedBundle]:
        found = await self._store.read(fetched_weights)
        return [FetchedBundle(weights_key(row[0], row[1]), *row[1:]) for row in found]

    async def came(self, bundle_id: str) -> None:
        values = {"local": True, "used_at": datetime.now(UTC)}

        def work(connection: Connection) -> bool:
            return update_weights(connection, bundle_id, **values)

        if not await self._store.write(work):  # deleted while it was being fetched
            await self._versions.forget(bundle_id)
            raise NotFound(f"The version {bundle_id} was deleted.")

    async def used(self, bundle_id: str) -> None:
        now = datetime.now(UTC)
        await self._store.write(lambda c: update_weights(c, bundle_id, used_at=now))

    async def left(self, bundle_id: str) -> None:
        values = {"local": False, "used_at": None}
        await self._store.write(lambda c: update_weights(c, bundle_id, **values))

    async def in_use(self) -> set[str]:
        return await self._users.loaded()
