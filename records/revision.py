"""Which revision a database has, and which this release needs. Knows no alembic."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from ..errors import CannotStart
from .engine import BUSY_TIMEOUT_S, explain

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_CHECKED_BYTES = 64 * 2**20  # a whole check of 64 MiB takes about 0.2 s


def newest_revision() -> str:
    """The newest revision this release knows: migrations are files `0001_first.py`, `0002_...`."""
    names = [path.name for path in _VERSIONS.iterdir()]
    return max(name[:4] for name in names if re.match(r"\d{4}_\w+\.pyc?\Z", name))


def revision_of(path: Path) -> str | None:
    """The database's revision, or None if it is new (no file, or one without any table).

    Raises CannotStart, naming file and remedy, if it is damaged, locked, not to be read or
    written, no database of ours, or written by a newer release.
    """
    if not path.exists():
        return None
    try:
        found = _read(path)
    except sqlite3.Error as error:
        raise CannotStart(str(explain(path, error, error))) from error
    if found is not None and found > newest_revision():
        raise CannotStart(
            f"{path}: written by a newer release (revision {found}; this one knows "
            f"{newest_revision()}). Install that release again, or use another --home."
        )
    return found


def _read(path: Path) -> str | None:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # Takes the write lock and gives it back: fails on a locked or read-only file.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        if path.stat().st_size <= _CHECKED_BYTES:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise CannotStart(
                    f"{path}: the database is damaged ({problem.splitlines()[-1]}). Move it away "
                    "and put a backup in its place, or recover it with `sqlite3 FILE .recover`."
                )
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not names:
            return None
        row = None
        if "alembic_version" in names:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None:
            raise CannotStart(
                f"{path}: holds tables that are not Modelyard's. Use another --home, or move "
                "the file away."
            )
        return str(row[0])
    finally:
        connection.close()
