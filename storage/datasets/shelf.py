"""What becomes of datasets beyond this disk: published, fetched, deleted elsewhere, let go.

Runs in the server. Without a shared store a dataset is `ready` at once, and here as long as it is
listed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ...errors import Conflict, NotFound, StorageUnavailable
from ...records import datasets as records
from ...records.datasets import DatasetRecord
from ...records.store import RecordStore
from ..cache import FetchedBundle, StoreCache
from ..office import StorageOffice
from ..publishing import Publisher, PublishState, can_retry
from ..versions import BadVersion, put_away, remove_away

log = logging.getLogger(__name__)


def dataset_key(dataset_id: str) -> str:
    """The key of a dataset in the store."""
    return f"datasets/{dataset_id}"


class DatasetShelf:
    """The datasets of a home for the rest of `storage/`: a `Shelf` of the cache, a `Mirror` of the
    synchronisation, and what the publisher publishes. `office` and `publisher` are None without a
    store. `remove` takes one off the records and the disk; it raises Conflict if that is needed.
    """

    kind = "dataset"

    def __init__(
        self,
        root: Path,
        store: RecordStore,
        office: StorageOffice | None,
        publisher: Publisher | None,
        cache: StoreCache,
        remove: Callable[[DatasetRecord], Awaitable[None]],
    ) -> None:
        self._root = root
        self._store = store
        self._office = office
        self._publisher = publisher
        self._cache = cache
        self._remove = remove
        cache.add_shelf(self)

    @property
    def new_state(self) -> str:
        """The state of a dataset that has just been taken in."""
        return records.READY if self._publisher is None else records.PUBLISHING

    async def start(self) -> None:
        """Goes on publishing what the store does not have; without a store all is `ready`."""
        await self._store.write(lambda c: records.settle_datasets(c, self.new_state))
        if self._publisher is not None:
            for record in await self._store.read(records.unstored_datasets):
                self.publish(record)

    async def retry(self, record: DatasetRecord) -> None:
        """As `WeightsKeeper.retry`: publishes it now, or mends what the store has of it."""
        here = record.local and (self._root / record.id).is_dir()
        publisher = can_retry(self._publisher, "dataset", record.stored, here)
        # The state first: it keeps a copy that was fetched from being dropped.
        values = {"state": records.PUBLISHING, "reason": None}
        await self._store.write(lambda c: records.change_dataset(c, record.id, **values))
        if not publisher.retry(dataset_key(record.id)):
            self.publish(record, mend=record.stored)

    def publish(self, record: DatasetRecord, mend: bool = False) -> None:
        """Brings it to the store in the background, however long that takes. `mend`: what the store
        has of it is read again."""
        if self._publisher is None:
            return

        async def on_state(how: PublishState) -> None:
            values: dict[str, Any] = vars(how).copy()
            if how.state == records.READY:
                values["stored"] = True
            await self._store.write(lambda c: records.change_dataset(c, record.id, **values))

        folder, key = self._root / record.id, dataset_key(record.id)
        self._publisher.add(self.kind, key, folder, on_state, record.attempts, mend=mend)

    async def local(self, record: DatasetRecord) -> None:
        """Has the files be here. Raises StorageUnavailable's family, NotFound if it was deleted
        elsewhere."""
        if record.local:
            if record.used_at is not None:
                await self._cache.touch(self, record.id)
            return
        if not record.stored:
            raise StorageUnavailable(record.reason or "The dataset's files are missing.")
        await self._cache.bring(self, dataset_key(record.id), record.id, record.size)

    async def unpublish(self, record: DatasetRecord) -> None:
        """Deletes it in the store, also if it is not there yet: it must not come later on.

        Raises StoreUnavailable; then it is published on.
        """
        if self._publisher is None or self._office is None:
            return
        await self._publisher.remove(dataset_key(record.id))
        try:
            if record.stored or record.attempts:
                await self._office.delete(dataset_key(record.id))
        except BaseException:
            if not record.stored or record.state == records.PUBLISHING:
                self.publish(record, mend=record.stored)
            raise

    def sent(self, record: DatasetRecord) -> tuple[int, int] | None:
        """Bytes done and in all while it is being published or fetched, else None."""
        key = dataset_key(record.id)
        publishing = None if self._publisher is None else self._publisher.progress(key)
        return publishing or self._cache.progress(key)

    # -- what the store tells (a Mirror of `sync.py`) ---------------------------------------------

    def keys(self, connection: Connection) -> list[str]:
        """The keys of the datasets that the store has, as far as is known."""
        return [dataset_key(one) for one in records.stored_ids(connection)]

    def upsert(self, connection: Connection, key: str, manifest: Mapping[str, Any]) -> None:
        """Somebody published this. Raises BadVersion for a manifest that is none."""
        try:
            records.upsert_from_manifest(connection, manifest)
        except (ValueError, KeyError, TypeError) as error:
            raise BadVersion(f"{key}: {type(error).__name__}: {error}") from error

    async def deleted(self, key: str) -> str | None:
        """Somebody deleted this: it goes here too, unless something here needs it and has it."""
        dataset_id = key.rpartition("/")[2]
        record = await self._store.read(lambda c: records.find_dataset(c, dataset_id))
        if record is None or not record.stored:
            return None
        if self._publisher is not None:  # it may be being mended
            await self._publisher.remove(key)
        try:
            await self._remove(record)
        except Conflict as error:
            log.warning("a dataset that was deleted elsewhere stays here: %s", error.message)
            kept = {"stored": False, "state": records.READY, "reason": None}
            await self._store.write(lambda c: records.change_dataset(c, dataset_id, **kept))
        return None

    def forget_store(self, connection: Connection) -> None:
        """The store is another one: what only the old one had is not here any more."""
        records.forget_store(connection)

    # -- what the cache may drop (a Shelf of `cache.py`) ------------------------------------------

    @property
    def root(self) -> Path:
        return self._root

    async def fetched(self) -> list[FetchedBundle]:
        found = await self._store.read(records.fetched_datasets)
        return [FetchedBundle(dataset_key(row[0]), *row) for row in found]

    async def came(self, bundle_id: str) -> None:
        values = {"local": True, "used_at": datetime.now(UTC)}
        if not await self._store.write(lambda c: records.change_dataset(c, bundle_id, **values)):
            away = await asyncio.to_thread(put_away, self._root, bundle_id)
            await asyncio.to_thread(remove_away, away)
            raise NotFound(f"The dataset {bundle_id} was deleted.")

    async def used(self, bundle_id: str) -> None:
        now = datetime.now(UTC)
        await self._store.write(lambda c: records.change_dataset(c, bundle_id, used_at=now))

    async def left(self, bundle_id: str) -> None:
        values = {"local": False, "used_at": None}
        await self._store.write(lambda c: records.change_dataset(c, bundle_id, **values))

    async def in_use(self) -> set[str]:
        return await self._store.read(records.datasets_of_active_runs)
