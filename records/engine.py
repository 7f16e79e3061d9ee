"""Opens the database: connections, transactions, and what its errors mean to an operator.

Runs in the server (in the record store's thread) and in the short-lived migration process.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import DiskFull, InvalidSettings, StorageUnavailable

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for another program that holds the database."""


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite database file."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path:
    """The file of a SQLite URL. Raises InvalidSettings for any other database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSettings(f"{url!r} is no database URL") from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise InvalidSettings(
            f"records are kept in a SQLite file; {parsed.render_as_string()} is none"
        )
    return Path(parsed.database)


def open_engine(url: str, make: bool = False) -> Engine:
    """An engine whose every committed transaction is durable. Connects to nothing yet.

    To a database that is there: SQLite would make a new, empty one of a missing file. With `make`
    it may.
    """
    address = f"{sqlite_path(url).absolute().as_uri()}?mode={'rwc' if make else 'rw'}"
    # One connection, and no check of its thread: the store uses it from its one thread, and closes
    # it from wherever the server is closed.
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        creator=lambda: sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        ),
        json_serializer=_to_json,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _to_json(value: Any) -> str:
    # In ASCII: JSON text may hold lone surrogates ("\\ud800"), which no UTF-8 column takes.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    # Python's sqlite3 opens transactions by guessing at statements (and never around DDL): we say
    # BEGIN ourselves, in _begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once. A transaction that reads first and writes later can
    # fail in the middle with "database is locked", and busy_timeout does not help it.
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turns the driver's errors into ours: `DiskFull` or `StorageUnavailable`, naming the file.

    Errors of the statement itself (a broken constraint) are the programmer's and pass unchanged.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise explain(path, cause, error) from error


def explain(path: Path, cause: BaseException | None, error: Exception) -> Exception:
    """What an error of the driver means, with file and remedy; the error itself if it is ours."""
    if not isinstance(cause, (sqlite3.OperationalError, sqlite3.DatabaseError)):
        return error
    if isinstance(cause, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return error
    name = getattr(cause, "sqlite_errorname", "") or ""
    for prefix, meaning in _MEANINGS.items():
        if name.startswith(prefix):
            kind = DiskFull if meaning is _FULL else StorageUnavailable
            return kind(f"{path}: {meaning}", code=name)
    return StorageUnavailable(f"{path}: {cause}", code=name)


_FULL = "the disk is full. Free some space; records that were written are safe."
_MEANINGS = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,  # when it opens, the file beside its log finds no room
    "SQLITE_BUSY": "another program holds the database locked. End that program (a database "
    "browser, a backup) and try again.",
    "SQLITE_LOCKED": "another program holds the database locked. End that program and try again.",
    "SQLITE_READONLY": "the database may only be read. Give the server's user the right to write "
    "to this file and to its folder.",
    "SQLITE_PERM": "the database may not be opened. Give the server's user the right to read and "
    "write this file and its folder.",
    "SQLITE_CANTOPEN": "the database cannot be opened. Give the server's user the right to read "
    "and write this file and its folder.",
    "SQLITE_NOTADB": "this is no database, or a damaged one. Move it away and put a backup in its "
    "place (or none, to begin anew without the old records).",
    "SQLITE_CORRUPT": "the database is damaged. Move it away and put a backup in its place, or "
    "recover it with `sqlite3 FILE .recover`.",
    "SQLITE_IOERR": "the disk fails to read or write the database. Check the disk.",
}
