"""The keys of a home from outside the server: read and written while one may run.

Runs in the command `modelyard keys`, and before a server listens.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from ..errors import CannotStart, HomeInUse
from .engine import BUSY_TIMEOUT_S, database_errors, open_engine, sqlite_url
from .home import Home
from .revision import newest_revision, revision_of
from .store import RecordStore

T = TypeVar("T")
_STARTING_S = 20.0
_LOOK_S = 0.2


def has_keys(database: Path) -> bool:
    """Whether the home of this database has a key, be it revoked or expired.

    Raises StorageUnavailable. False where there is no database yet.
    """
    if not database.exists():
        return False
    with database_errors(database):
        address = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'")
            if tables.fetchone() is None:
                return False
            return connection.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None


def with_keys(home: Home, work: Callable[[Connection], T]) -> T:
    """Runs `work` in one transaction on the records of this home, which is made if there is none.

    A running server keeps the home: it may, and sees what was done. Raises CannotStart if the
    records are those of another release, or cannot be used; StorageUnavailable.
    """
    _refuse_lost(home)
    if not _is_current(home):
        _make_current(home)
    engine = open_engine(sqlite_url(home.database))
    try:
        with database_errors(home.database), engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def _refuse_lost(home: Home) -> None:
    """What is written into a database that a server does not have open would have no effect."""
    if (lost := home.lost()) is not None:
        raise CannotStart(str(lost))


def _is_current(home: Home) -> bool:
    return home.format_file.exists() and revision_of(home.database) == newest_revision()


def _make_current(home: Home) -> None:
    """Makes the home, or migrates its records. A server that is doing so now is waited for."""
    until = time.monotonic() + _STARTING_S
    while True:
        try:
            home.open()
        except HomeInUse as error:
            if _is_current(home):
                return
            _refuse_lost(home)
            if time.monotonic() > until:
                told = "a server of another release uses this home. Restart it with this one"
                if not home.database.exists():
                    told = f"the server that uses it (pid {error.details['pid']}) has no records.db"
                    told += " yet, or it was removed: see its log, and start it again"
                raise CannotStart(f"{home.root}: {told}, then try again.") from error
            time.sleep(_LOOK_S)
        else:
            break
    try:
        asyncio.run(_migrated(home))
    finally:
        home.close()


async def _migrated(home: Home) -> None:
    store = RecordStore(home.database)
    await store.open()
    await store.close()
