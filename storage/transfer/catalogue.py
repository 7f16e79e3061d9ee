"""What of the store was told to the front: a small database in the home, so that syncing is cheap.

It may be lost at any time: then everything is told again. The store's listings are the truth, but
for one thing: a bundle that is not listed is never told as deleted, only one with a tombstone is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from ...errors import Corrupt, ObjectMissing
from ..stores.base import ObjectStore
from ..versions import BadVersion
from .layout import MANIFEST_LIMIT, bundle_kind, bundle_of, manifest_key
from .manifests import check_belongs, read_bundle
from .registers import newest, read_entry
from .results import Changes, Published, RegisterEntry
from .sealed import get_sealed
from .work import Workers

PAGE = 500
PAGE_BYTES = 4 * 1024 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS told (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, created_at TEXT, manifest TEXT);
CREATE TABLE IF NOT EXISTS unread (key TEXT PRIMARY KEY, modified TEXT);
CREATE TABLE IF NOT EXISTS deleted (key TEXT PRIMARY KEY, told INTEGER);
CREATE TABLE IF NOT EXISTS registers (
    register TEXT PRIMARY KEY, counter INTEGER, server TEXT, value TEXT, told INTEGER);
CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, modified TEXT);
CREATE TEMP TABLE seen_deleted (key TEXT PRIMARY KEY);
CREATE TEMP TABLE seen_registers (register TEXT PRIMARY KEY, counter INTEGER, server TEXT);
"""


class Catalogue:
    """Used by one thread at a time."""

    def __init__(self, store: ObjectStore, file: Path, workers: Workers) -> None:
        self._store, self._file, self._workers = store, file, workers

    def changes(self, known: Sequence[str] | None) -> Iterator[Changes]:
        """Pages, as StorageOffice.changes tells. A page is told when the next is asked for."""
        with closing(self._connect()) as database:
            if known is not None:
                _forget(database, known)
            problems = self._read_store(database)
            if known is not None:  # others' dead are nothing to the caller
                database.execute(
                    "UPDATE deleted SET told = 1 WHERE key NOT IN (SELECT key FROM told)"
                )
            if problems:
                yield Changes(problems=tuple(problems))
            yield from _published_pages(database)
            yield from _register_pages(database)
            yield from _deleted_pages(database)

    def _connect(self) -> sqlite3.Connection:
        try:
            return _open(self._file)
        except sqlite3.DatabaseError:
            # A power cut may have damaged it: it is worth nothing that the store does not tell.
            for end in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self._file}{end}").unlink()
            return _open(self._file)

    def _read_store(self, database: sqlite3.Connection) -> list[str]:
        # Tombstones first: a bundle that is published again loses its tombstone first.
        self._read_deleted(database)
        problems = self._read_manifests(database)
        return problems + self._read_registers(database)

    def _read_deleted(self, database: sqlite3.Connection) -> None:
        found = (
            (key,)
            for item in self._store.list("deleted/")
            if (key := bundle_of(item.key.removeprefix("deleted/"))) is not None
        )
        _fill(database, "INSERT OR REPLACE INTO seen_deleted VALUES (?)", found)
        database.executescript(
            """
            BEGIN;
            DELETE FROM deleted WHERE key NOT IN (SELECT key FROM seen_deleted);
            INSERT OR IGNORE INTO deleted SELECT key, 0 FROM seen_deleted;
            DELETE FROM pending WHERE key IN (SELECT key FROM deleted);
            COMMIT;
            """
        )

    def _read_manifests(self, database: sqlite3.Connection) -> list[str]:
        found = (
            (key, item.modified.isoformat())
            for prefix in ("models/", "datasets/")
            for item in self._store.list(prefix)
            if (key := bundle_of(item.key)) is not None
        )
        _fill(database, "INSERT OR REPLACE INTO seen VALUES (?, ?)", found)
        new = database.execute(
            """
            SELECT key, modified FROM seen WHERE key NOT IN (SELECT key FROM told)
            AND key NOT IN (SELECT key FROM pending) AND key NOT IN (SELECT key FROM deleted)
            AND NOT EXISTS (SELECT 1 FROM unread u WHERE u.key = seen.key
                            AND u.modified = seen.modified)
            """
        ).fetchall()
        problems: list[str] = []
        for key, modified, read in self._workers.map(self._read_manifest, new):
            if isinstance(read, BadVersion | Corrupt):
                problems.append(read.message)
                database.execute("INSERT OR REPLACE INTO unread VALUES (?, ?)", (key, modified))
            elif read is not None:
                database.execute("INSERT OR REPLACE INTO pending VALUES (?, ?, ?)", (key, *read))
            database.commit()
        return problems

    def _read_manifest(
        self, item: tuple[str, str]
    ) -> tuple[str, str, tuple[str, str] | BadVersion | Corrupt | None]:
        key, modified = item
        place = manifest_key(key)
        try:
            manifest = read_bundle(get_sealed(self._store, place, MANIFEST_LIMIT), place)
            check_belongs(manifest, key, place)
            created = _created(manifest.data.get("created_at"), place)
            return key, modified, (created, manifest.told(place).decode())
        except ObjectMissing:  # deleted since it was listed
            return key, modified, None
        except (BadVersion, Corrupt) as error:
            return key, modified, error

    def _read_registers(self, database: sqlite3.Connection) -> list[str]:
        _fill(
            database, "INSERT OR REPLACE INTO seen_registers VALUES (?, ?, ?)", newest(self._store)
        )
        new = database.execute(
            """
            SELECT s.register, s.counter, s.server FROM seen_registers s
            LEFT JOIN registers r USING (register)
            WHERE (r.register IS NULL OR (s.counter, s.server) > (r.counter, r.server))
            AND NOT EXISTS (SELECT 1 FROM unread u WHERE u.key = s.register
                            AND u.modified = s.counter || '-' || s.server)
            """
        ).fetchall()
        problems: list[str] = []
        for (register, counter, server), read in self._workers.map(self._read_register, new):
            if isinstance(read, Corrupt):
                problems.append(read.message)
                seen = (register, f"{counter}-{server}")
                database.execute("INSERT OR REPLACE INTO unread VALUES (?, ?)", seen)
            elif read is not None:
                database.execute(
                    "INSERT OR REPLACE INTO registers VALUES (?, ?, ?, ?, 0)",
                    (register, counter, server, json.dumps(read.value)),
                )
            database.commit()
        return problems

    def _read_register(
        self, entry: tuple[str, int, str]
    ) -> tuple[tuple[str, int, str], RegisterEntry | Corrupt | None]:
        try:
            return entry, read_entry(self._store, *entry)
        except ObjectMissing:
            return entry, None
        except Corrupt as error:
            return entry, error


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file)
    try:
        # A killed process harms nothing; a power cut may, and then all is told again.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(_TABLES)
        database.execute("SELECT count(*) FROM told").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def _forget(database: sqlite3.Connection, known: Sequence[str]) -> None:
    """What was told counts no more: the caller has `known` and nothing else."""
    for table in ("told", "pending", "unread", "deleted"):
        database.execute(f"DELETE FROM {table}")
    database.execute("UPDATE registers SET told = 0")
    _fill(database, "INSERT OR REPLACE INTO told VALUES (?)", ((key,) for key in known))
    database.commit()


def _fill(database: sqlite3.Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
    rows = iter(rows)
    while batch := list(islice(rows, 1000)):
        database.executemany(statement, batch)
    database.commit()


def _published_pages(database: sqlite3.Connection) -> Iterator[Changes]:
    while True:
        page: list[Published] = []
        size = 0
        for key, text in database.execute(
            "SELECT key, manifest FROM pending ORDER BY created_at, key LIMIT ?", (PAGE,)
        ):
            page.append(Published(key, bundle_kind(key), json.loads(text)))
            size += len(text)
            if size > PAGE_BYTES:
                break
        if not page:
            return
        yield Changes(published=tuple(page))
        keys = [(item.key,) for item in page]
        database.executemany("INSERT OR REPLACE INTO told VALUES (?)", keys)
        database.executemany("DELETE FROM pending WHERE key = ?", keys)
        database.commit()


def _register_pages(database: sqlite3.Connection) -> Iterator[Changes]:
    select = "SELECT register, counter, server, value FROM registers WHERE told = 0 LIMIT ?"
    while rows := database.execute(select, (PAGE,)).fetchall():
        yield Changes(
            registers=tuple(
                RegisterEntry(name, counter, server, json.loads(value))
                for name, counter, server, value in rows
            )
        )
        database.executemany(
            "UPDATE registers SET told = 1 WHERE register = ? AND counter = ? AND server = ?",
            [row[:3] for row in rows],
        )
        database.commit()


def _deleted_pages(database: sqlite3.Connection) -> Iterator[Changes]:
    select = "SELECT key FROM deleted WHERE told = 0 LIMIT ?"
    while rows := database.execute(select, (PAGE,)).fetchall():
        yield Changes(deleted=tuple(row[0] for row in rows))
        database.executemany("UPDATE deleted SET told = 1 WHERE key = ?", rows)
        database.executemany("DELETE FROM told WHERE key = ?", rows)
        database.commit()


def _created(text: object, where: str) -> str:
    """The time in a form that sorts."""
    try:
        time = datetime.fromisoformat(str(text))
        aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise BadVersion(f"{where}: {str(text)[:200]!r} is no time of creation") from None
