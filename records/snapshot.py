"""A copy of the records as they are at one moment, also while a server uses them.

Runs in the command `modelyard backup`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import CannotStart
from ..schemas.states import Phase, Status
from .engine import BUSY_TIMEOUT_S, database_errors
from .revision import newest_revision

_TOLD = "Under way when the backup was made. Resume it: it goes on from its last checkpoint."


@dataclass(frozen=True)
class Recorded:
    """Ids of what has a folder, by the records: `ended` are those of `runs` that have ended."""

    runs: frozenset[str]
    ended: frozenset[str]
    weights: frozenset[str]
    datasets: frozenset[str]


def take_snapshot(path: Path, target: Path) -> Recorded:
    """Copies the database to `target`, whole and of one moment, with what was not yet in the file.

    By SQLite's own means (sqlite3_backup): a copy of the file would lack what is in its log.
    Raises StorageUnavailable and DiskFull, naming the file, CannotStart for another release's.
    """
    target.unlink(missing_ok=True)
    with database_errors(path):
        source = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S
        )
        with closing(source), closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file
            (revision,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
            if revision != newest_revision():
                raise CannotStart(
                    f"{path}: of another release (revision {revision}; this one knows "
                    f"{newest_revision()}). Make the backup with the server's own release."
                )
            return _recorded(copy)


def _recorded(copy: sqlite3.Connection) -> Recorded:
    def ids(query: str, *values: str) -> frozenset[str]:
        return frozenset(row[0] for row in copy.execute(query, values))

    return Recorded(
        ids("SELECT id FROM runs"),
        ids("SELECT id FROM runs WHERE phase = ?", Phase.FINISHED.value),
        ids("SELECT id FROM weights WHERE local"),
        ids("SELECT id FROM datasets WHERE local"),
    )


def quieten(path: Path) -> int:
    """Has a server that is started on this copy begin nothing by itself; how many runs now wait.

    A run that was under way is `paused`: its processes belong to the home that was copied.
    """
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute(
            "UPDATE runs SET phase = ?, rev = rev + 1 WHERE phase = ?",
            (Phase.FINISHED.value, Phase.CANCELLING.value),
        )
        changed = copy.execute(
            "UPDATE runs SET phase = ?, message = ?, rev = rev + 1 WHERE status = ?",
            (Phase.PAUSED.value, _TOLD, Status.RUNNING.value),
        )
        return changed.rowcount
