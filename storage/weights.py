"""The weights versions of a home: which there are, where they lie, and which is `latest`.

Runs in the server. The folder makes a version real, the record makes it known: the record comes
second, so a version that is listed is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ..errors import WeightsNotFound
from ..records.store import RecordStore
from ..records.weights import (
    WeightsRecord,
    find_weights,
    insert_weights,
    latest_weights,
    list_weights,
)
from .versions import VERSION_ID, Manifest, install_version, is_whole, remove_unfinished

LATEST = "latest"


@dataclass(frozen=True)
class WeightsVersion:
    """One version: what is recorded of it, and the folder whose content a plugin loads.

    `files` are `{"path", "size", "sha256"}`; `size` is in bytes.
    """

    id: str
    model: str
    run: str | None
    created_at: datetime
    state: str
    step: int | None
    checkpoint: str | None
    metrics: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    size: int
    aliases: tuple[str, ...]
    folder: Path


class WeightsVersions:
    """HOME/weights and the table `weights`."""

    def __init__(self, root: Path, store: RecordStore) -> None:
        self.root = root
        self._store = store

    async def start(self) -> None:
        """Removes what a server that was killed while publishing has left."""
        await asyncio.to_thread(remove_unfinished, self.root)

    async def install(self, source: Path) -> Manifest:
        """Makes the version folder `source` (of a run) a folder here; it is not listed yet.

        Doing it again changes nothing. Raises BadVersion (it will never work) and OSError (the
        disk is full: try again later).
        """
        return await asyncio.to_thread(install_version, source, self.root)

    def record_in(self, manifest: Manifest) -> Callable[[Connection], None]:
        """The part of a transaction that lists an installed version and makes it `latest`.

        Handed out so that the run's own record can change in the same transaction.
        """
        record = WeightsRecord(
            id=manifest.id,
            model=manifest.model,
            run=manifest.run,
            created_at=manifest.created_at,
            step=manifest.step,
            checkpoint=manifest.checkpoint,
            metrics=manifest.metrics,
            files=manifest.files,
            size=manifest.size,
        )
        return lambda connection: insert_weights(connection, record)

    async def publish(self, source: Path) -> WeightsVersion:
        """Installs a version folder and lists it at once. Raises as `install`."""
        manifest = await self.install(source)
        await self._store.write(self.record_in(manifest))
        return await self.get(manifest.model, manifest.id)

    async def get(self, model: str, name: str) -> WeightsVersion:
        """The version of this id, or `latest`. Raises WeightsNotFound."""
        found = await self.find(model, name)
        if found is None:
            raise WeightsNotFound(f"The model {model} has no weights version {name!r}.")
        return found

    async def find(self, model: str, name: str) -> WeightsVersion | None:
        """The version of this id, or `latest`; None if there is none."""

        def work(connection: Connection) -> tuple[WeightsRecord | None, WeightsRecord | None]:
            latest = latest_weights(connection, model)
            if name == LATEST:
                return latest, latest
            known = VERSION_ID.match(name) is not None
            return find_weights(connection, name, model) if known else None, latest

        record, latest = await self._store.read(work)
        return None if record is None else self._version(record, latest)

    async def latest(self, model: str) -> WeightsVersion | None:
        """What last became ready by a training here, or None."""
        record = await self._store.read(lambda c: latest_weights(c, model))
        return None if record is None else self._version(record, record)

    async def list(self, model: str, limit: int | None = None) -> list[WeightsVersion]:
        """The model's versions, newest first."""

        def work(connection: Connection) -> tuple[list[WeightsRecord], WeightsRecord | None]:
            return list_weights(connection, model, limit), latest_weights(connection, model)

        records, latest = await self._store.read(work)
        return [self._version(record, latest) for record in records]

    async def check(self, version: WeightsVersion) -> bool:
        """True if every file of the version is there with its size."""
        return await asyncio.to_thread(is_whole, self.root / version.id)

    def _version(self, record: WeightsRecord, latest: WeightsRecord | None) -> WeightsVersion:
        is_latest = latest is not None and latest.id == record.id
        return WeightsVersion(
            id=record.id,
            model=record.model,
            run=record.run,
            created_at=record.created_at,
            state=record.state,
            step=record.step,
            checkpoint=record.checkpoint,
            metrics=record.metrics or {},
            files=record.files,
            size=record.size,
            aliases=(LATEST,) if is_latest else (),
            folder=self.root / record.id / "files",
        )
