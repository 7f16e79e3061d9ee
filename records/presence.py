"""Whether the open database is still the home's. Runs in the record store's thread.

SQLite goes on with files that somebody has removed or replaced: it reads and writes what has no
name any more, and the end of the process is the end of that. So before a transaction is
acknowledged it is looked whether the names still lead to the open files, and if they do not, what
the database holds is saved under another name while that can be done.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Engine

from ..errors import StorageUnavailable

log = logging.getLogger(__name__)

_BESIDE = ("", "-wal", "-shm")
"""The database, what was committed last, and the index of that: https://sqlite.org/walformat.html"""


class Presence:
    """The files of the database at `path`, as they were when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = [f"{path}{suffix}" for suffix in _BESIDE]
        self._opened: list[tuple[int, int] | None] = []
        self._told = ""

    def note(self) -> None:
        """The database was opened, and a transaction begun: what stands there now is open."""
        self._opened = [_identity(name) for name in self._names]

    def check(self, engine: Engine) -> None:
        """Raises StorageUnavailable if a file is not there any more, or is another one.

        The first time, a copy of what the open database holds is left beside it.
        """
        for name, opened in zip(self._names, self._opened, strict=False):
            if opened is None or _identity(name) == opened:
                continue
            if not self._told:
                self._told = self._save(engine)
                log.error("%s", self._words(name))
            raise StorageUnavailable(self._words(name), code="removed")

    def _words(self, name: str) -> str:
        return (
            f"{name}: was removed or replaced while the server had it open. {self._told} "
            f"Stop the server, put that in the place of {self._path} (without a -wal and -shm of "
            "another), and start it again."
        )

    def _save(self, engine: Engine) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        copy = self._path.with_name(f"{self._path.name}.saved-{stamp}")
        try:
            # For this user alone, from the first moment on: SQLite takes an empty file too.
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("VACUUM INTO ?", (str(copy),))
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            copy.unlink(missing_ok=True)  # what there is of it is no database
            return f"What it held could not be saved ({error}): put a backup in its place."
        return f"All that it held is in {copy}."


def _identity(name: str) -> tuple[int, int] | None:
    try:
        status = os.stat(name)  # noqa: PTH116 - a microsecond, before and after each transaction
    except OSError:
        return None
    return status.st_dev, status.st_ino
