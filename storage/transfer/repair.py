"""Removing from the store what nothing refers to any more.

Servers publish meanwhile, so only what is older than a day by the store's clock is removed: a
publisher makes younger what it skips, and looks at all that its manifest needs after publishing it.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from ...errors import Corrupt, ObjectMissing
from ..stores.base import ObjectInfo, ObjectStore
from ..versions import BadVersion
from .layout import (
    COLLECT_AFTER,
    MANIFEST_LIMIT,
    SHARED_FOR,
    bundle_of,
    manifest_key,
    register_of,
    tombstone_key,
)
from .manifests import read_bundle
from .objects import objects_of
from .results import RepairReport
from .sealed import get_sealed
from .work import Meter, StoreClock, Workers

KEPT_ENTRIES = 20
"""Of a register: the one that holds, and some that tell how it was."""
_FORGET_S = 90 * 24 * 3600.0


class _Garbage(NamedTuple):
    blobs: int = 0
    packs: int = 0
    size: int = 0
    refused: str | None = None


class Repairer:
    """One repair of a store, and of what the home remembers of it (`state`)."""

    def __init__(
        self,
        store: ObjectStore,
        state: Path,
        workers: Workers,
        clock: StoreClock,
        meter: Meter,
        dry: bool,
    ) -> None:
        self._store, self._state, self._workers = store, state, workers
        self._clock, self._meter, self._dry = clock, meter, dry

    def run(self) -> RepairReport:
        """Raises StoreUnavailable; doing it again goes on."""
        report = RepairReport(dry=self._dry, deletions=self._finish_deletions())
        garbage = self._collect()
        shared = self._remove_old("shared/", SHARED_FOR)
        self._remove_old("probes/", COLLECT_AFTER)
        uploads = 0 if self._dry else self._store.abort_stale(COLLECT_AFTER.total_seconds())
        if not self._dry:
            self._forget_local()
        return replace(
            report,
            shared=shared,
            entries=self._prune_registers(),
            uploads=uploads,
            **garbage._asdict(),
        )

    def _finish_deletions(self) -> int:
        """Somebody was killed between the tombstone and the manifest."""
        count = 0
        for item in self._store.list("deleted/"):
            key = bundle_of(item.key.removeprefix("deleted/"))
            if key is None or self._clock.age(item.modified) < COLLECT_AFTER:
                continue
            if self._store.stat(manifest_key(key)) is None:
                continue
            count += 1
            # Somebody who publishes it again removes the tombstone first.
            if not self._dry and self._store.stat(tombstone_key(key)) is not None:
                self._store.delete(manifest_key(key))
        return count

    def _collect(self) -> _Garbage:
        with (
            tempfile.TemporaryDirectory(dir=self._state) as folder,
            closing(sqlite3.connect(Path(folder) / "candidates.db")) as database,
        ):
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE old (key TEXT PRIMARY KEY, size INTEGER)")
            # Candidates first, manifests second: a manifest that comes in between only protects.
            for prefix in ("blobs/", "packs/"):
                for item in self._older(prefix, COLLECT_AFTER):
                    database.execute("INSERT INTO old VALUES (?, ?)", (item.key, item.size))
            refused = self._strike_out_needed(database)
            if refused is not None:
                return _Garbage(refused=refused)
            return self._remove_garbage(database)

    def _strike_out_needed(self, database: sqlite3.Connection) -> str | None:
        manifests = (
            item.key
            for prefix in ("models/", "datasets/")
            for item in self._store.list(prefix)
            if bundle_of(item.key) is not None
        )
        for read in self._workers.map(self._needs, manifests):
            if isinstance(read, str):
                return read
            database.executemany("DELETE FROM old WHERE key = ?", ((key,) for key in read))
        return None

    def _needs(self, key: str) -> list[str] | str:
        """The objects that a manifest needs; a text if nobody can tell which."""
        self._meter.check()
        try:
            manifest = read_bundle(get_sealed(self._store, key, MANIFEST_LIMIT), key)
        except ObjectMissing:
            return []
        except (BadVersion, Corrupt) as error:
            return f"{error.message}. Nothing is collected: its objects would be lost."
        return [item.key for item in objects_of(manifest.files, manifest.packs)]

    def _remove_garbage(self, database: sqlite3.Connection) -> _Garbage:
        rows = database.execute("SELECT key, size FROM old")
        blobs = packs = size = 0
        for key, removed in self._workers.map(self._remove_if_old, rows):
            size += removed
            blobs += removed > 0 and key.startswith("blobs/")
            packs += removed > 0 and key.startswith("packs/")
        return _Garbage(blobs, packs, size)

    def _remove_if_old(self, row: tuple[str, int]) -> tuple[str, int]:
        key, size = row
        self._meter.check()
        # A publisher may have made it young since it was listed.
        info = self._store.stat(key)
        if info is None or self._clock.age(info.modified) < COLLECT_AFTER:
            return key, 0
        if not self._dry:
            self._store.delete(key)
        return key, size

    def _older(self, prefix: str, age: timedelta) -> Iterator[ObjectInfo]:
        for item in self._store.list(prefix):
            self._meter.check()
            if self._clock.age(item.modified) > age:
                yield item

    def _remove_old(self, prefix: str, age: timedelta) -> int:
        count = 0
        for item in self._older(prefix, age):
            count += 1
            if not self._dry:
                self._store.delete(item.key)
        return count

    def _prune_registers(self) -> int:
        count = 0
        held: list[ObjectInfo] = []
        register = ""
        for item in self._store.list("registers/"):
            entry = register_of(item.key)
            if entry is None:
                continue
            if entry[0] != register:
                register, held = entry[0], []
            held.append(item)
            if len(held) > KEPT_ENTRIES:
                oldest = held.pop(0)
                if self._clock.age(oldest.modified) > COLLECT_AFTER:
                    count += 1
                    if not self._dry:
                        self._store.delete(oldest.key)
        return count

    def _forget_local(self) -> None:
        now = time.time()
        for path in self._state.glob("uploads/*"):
            if now - path.stat().st_mtime > COLLECT_AFTER.total_seconds():
                shutil.rmtree(path, ignore_errors=True)
        for pattern in ("packs/*", "published/*", "fetched/*"):
            for path in self._state.glob(pattern):
                if now - path.stat().st_mtime > _FORGET_S:
                    path.unlink(missing_ok=True)
