"""The dataset versions of a home: taken in, kept, listed, fetched, deleted. Runs in the front.

The folder makes a version real, the record makes it known: the record comes second, so a dataset
that is listed is whole, whatever line the server was killed at.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection

from ...errors import Conflict, DatasetNotFound
from ...records import datasets as records
from ...records.datasets import DatasetRecord
from ...records.home import Home
from ...records.store import RecordStore
from ...turns import Turns
from ..cache import StoreCache
from ..office import StorageOffice
from ..publishing import Publisher
from ..versions import bring_back, put_away, remove_away
from .ingestion import Content, Ingestion
from .recovery import recover
from .shelf import DatasetShelf
from .taking import Item, Progress

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Datasets that are unpacked at the same time; others wait."""


@dataclass(frozen=True)
class Reading:
    """What a model's own reader says of a dataset: members of its statistics, and its report."""

    statistics: Mapping[str, Any]
    report: Mapping[str, Any]


class Reader(Protocol):
    """Has a model read a folder; None if the model has no reader. Raises nothing of the model's:
    a reader that fails is told in the report."""

    async def __call__(self, model: str, folder: Path) -> Reading | None: ...


@dataclass(frozen=True)
class Incoming:
    """What a client sent to become a dataset. `source` tells where it came from, as JSON; `id` is
    the one that it is to have, if it is new."""

    items: Sequence[Item]
    name: str
    model: str | None = None
    sha256: str | None = None
    principal: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Datasets:
    """HOME/datasets and the table `datasets`."""

    def __init__(
        self,
        home: Home,
        store: RecordStore,
        read: Reader,
        cache: StoreCache,
        office: StorageOffice | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        self.root = home.datasets
        self.shelf = DatasetShelf(self.root, store, office, publisher, cache, self._remove)
        self._log = home.logs / "datasets.log"
        self._store = store
        self._read = read
        self._places = asyncio.Semaphore(AT_ONCE)
        self._naming = Turns()  # one at a time gets the next number of a name
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Puts right what a killed server has left, and goes on with what was not published."""
        await recover(self.root, self._store)
        await self.shelf.start()

    async def close(self) -> None:
        """Gives up what is being taken in; nothing of it is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- taking in --------------------------------------------------------------------------------

    async def add(
        self, incoming: Incoming, progress: Progress | None = None
    ) -> tuple[DatasetRecord, bool]:
        """The dataset, and True if it is new: content that is here under this name is that version.

        Goes on if the caller is cancelled. Raises BadArchive, InvalidArguments (`sha256`),
        DiskFull, StorageUnavailable; then nothing is kept.
        """
        return await asyncio.shield(self._spawn(self._add(incoming, progress or _nobody)))

    async def _add(self, incoming: Incoming, progress: Progress) -> tuple[DatasetRecord, bool]:
        dataset_id = incoming.id
        async with (
            self._places,
            Ingestion(self.root, dataset_id, self._log, progress) as ingestion,
        ):
            content = await ingestion.take(incoming.items, incoming.sha256)
            known = await self._known(incoming.name, content)
            if known is not None:
                return known, False
            draft = self._draft(dataset_id, incoming, content)
            draft = await self._with_reading(draft, content)
            async with self._naming.hold(incoming.name):
                known = await self._known(incoming.name, content)  # came meanwhile, too
                if known is not None:
                    return known, False
                record = await self._seal(ingestion, draft)
        self.shelf.publish(record)
        return record, True

    async def _known(self, name: str, content: Content) -> DatasetRecord | None:
        return await self._store.read(lambda c: records.find_content(c, name, content.digest))

    def _draft(self, dataset_id: str, incoming: Incoming, content: Content) -> DatasetRecord:
        return DatasetRecord(
            id=dataset_id,
            name=incoming.name,
            number=0,
            digest=content.digest,
            created_at=datetime.now(UTC),
            state=self.shelf.new_state,
            model=incoming.model,
            files=content.files,
            size=content.size,
            statistics=content.counts,
            source={**incoming.source, "unpacked": content.unpacked},
            principal=incoming.principal,
        )

    async def _with_reading(self, draft: DatasetRecord, content: Content) -> DatasetRecord:
        if draft.model is None:
            return draft
        reading = await self._read(draft.model, content.folder)
        if reading is None:
            return draft
        statistics = {**(draft.statistics or {}), **reading.statistics}
        return replace(draft, statistics=statistics, report=reading.report)

    async def _seal(self, ingestion: Ingestion, draft: DatasetRecord) -> DatasetRecord:
        def look(connection: Connection) -> tuple[int, list[str]]:
            relatives = records.local_relatives(connection, draft.name, draft.digest)
            return records.next_number(connection, draft.name), relatives

        number, relatives = await self._store.read(look)
        record = replace(draft, number=number)
        await ingestion.seal(_manifest_of(record), [self.root / one for one in relatives])
        return await self._store.write(lambda c: records.insert_dataset(c, record))

    # -- looking up -------------------------------------------------------------------------------

    async def find(self, reference: str) -> DatasetRecord | None:
        """The version of this id, name (the newest) or name@number."""
        return await self._store.read(lambda c: records.find_dataset(c, reference))

    async def find_digest(self, digest: str) -> DatasetRecord | None:
        """A version with this content, whatever its name."""
        return await self._store.read(lambda c: records.find_digest(c, digest))

    async def get(self, reference: str) -> DatasetRecord:
        """The same as `find`. Raises DatasetNotFound."""
        found = await self.find(reference)
        if found is None:
            raise DatasetNotFound(f"There is no dataset {reference!r}.")
        return found

    async def list(
        self, limit: int, before: int | None = None, name: str | None = None
    ) -> tuple[list[DatasetRecord], int | None]:
        """A page, newest first, and what the next one comes after (None: this is the last)."""
        page = await self._store.read(
            lambda c: records.page_of_datasets(c, limit=limit + 1, before=before, name=name)
        )
        more = len(page) > limit
        return page[:limit], page[limit - 1].seq if more else None

    async def files(self, record: DatasetRecord) -> Path:
        """The folder with its files, on this disk; fetched and verified first if they are in the
        store only.

        A fetch goes on if the caller is cancelled, and two callers share one. Raises
        StorageUnavailable's family, NotFound if it was deleted elsewhere.
        """
        await self.shelf.local(record)
        return self.root / record.id / "files"

    # -- removing ---------------------------------------------------------------------------------

    async def delete(
        self, record: DatasetRecord, resumable: Callable[[Sequence[str]], Awaitable[Sequence[str]]]
    ) -> None:
        """Removes the version here and in the store.

        `resumable` says which of these ended runs could still be resumed. Raises Conflict, naming
        what refers to it; StoreUnavailable, and then nothing is removed.
        """
        references = await self._store.read(lambda c: records.references_to(c, record.id))
        _refuse(record, references, await resumable(references.ended_runs))
        await self.shelf.unpublish(record)
        await asyncio.shield(self._spawn(self._remove(record)))

    async def _remove(self, record: DatasetRecord) -> None:
        away = await asyncio.to_thread(put_away, self.root, record.id)

        def work(connection: Connection) -> None:  # somebody may have named it meanwhile
            _refuse(record, records.references_to(connection, record.id), ())
            records.delete_dataset(connection, record.id)

        try:
            await self._store.write(work)
        except BaseException:
            await asyncio.to_thread(bring_back, away)
            raise
        await asyncio.to_thread(remove_away, away)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside all else; given up when the server stops."""
        self._spawn(work)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Whoever asked for it may be gone.
            log.info("a dataset was not taken in or removed: %s", task.exception())


def _refuse(
    record: DatasetRecord, references: records.References, resumable: Sequence[str]
) -> None:
    told = [
        (references.active_runs, "trainings that have not ended"),
        (resumable, "trainings that can be resumed"),
        (references.weights, "weights versions"),
    ]
    words = [f"{what} ({_some(ids)})" for ids, what in told if ids]
    if words:
        raise Conflict(
            f"The dataset {record.name}@{record.number} is needed by {'; '.join(words)}.",
            runs=[*references.active_runs, *resumable],
            weights=list(references.weights),
        )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (" ..." if len(ids) > 5 else "")


def _manifest_of(record: DatasetRecord) -> dict[str, Any]:
    """manifest.json but for its files."""
    return {
        "format": 1,
        "kind": "dataset",
        "id": record.id,
        "model": record.model,
        "run": None,
        "created_at": record.created_at.isoformat(),
        "origin": "import",
        "step": None,
        "checkpoint": None,
        "metrics": {},
        "parent": None,
        "dataset": None,
        "lineage": {},
        "name": record.name,
        "number": record.number,
        "digest": record.digest,
        "statistics": record.statistics,
        "report": record.report,
        "source": record.source,
    }


def _nobody(done: int, total: int) -> None:
    """Nobody watches."""
