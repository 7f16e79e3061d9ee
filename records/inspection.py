"""A look into the database of a home from outside: nothing is migrated, and a server may run.

Runs in the command `modelyard doctor`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .engine import BUSY_TIMEOUT_S, database_errors

Kind = Literal["weights", "datasets"]
_OWNERS: dict[Kind, str] = {"weights": "model", "datasets": "name"}


@dataclass(frozen=True)
class KeptBundle:
    """A weights or dataset version as it is recorded; `owner` is its model, or its name."""

    kind: Kind
    id: str
    owner: str
    local: bool
    stored: bool
    reason: str | None

    @property
    def key(self) -> str:
        """Its key in the shared store."""
        if self.kind == "datasets":
            return f"datasets/{self.id}"
        return f"models/{self.owner}/weights/{self.id}"


def integrity(path: Path) -> str | None:
    """What is wrong with the file, in SQLite's words; None if nothing is.

    Raises StorageUnavailable if it cannot be read.
    """
    with _reading(path) as connection:
        (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return None if said == "ok" else str(said).splitlines()[-1]


def kept_bundles(path: Path) -> list[KeptBundle]:
    """Every version that is recorded. Raises StorageUnavailable."""
    found = []
    with _reading(path) as connection:
        for kind, owner in _OWNERS.items():
            query = f"SELECT id, {owner}, local, stored, reason FROM {kind} ORDER BY seq"
            for one, name, local, stored, reason in connection.execute(query):
                found.append(KeptBundle(kind, one, name, bool(local), bool(stored), reason))
    return found


def recorded_runs(path: Path) -> dict[str, bool]:
    """Every run's id, and whether it has ended. Raises StorageUnavailable."""
    with _reading(path) as connection:
        query = "SELECT id, phase = 'finished' FROM runs ORDER BY seq"
        return {run_id: bool(ended) for run_id, ended in connection.execute(query)}


def newest_moment(path: Path) -> datetime | None:
    """The latest time of any run or version. Raises StorageUnavailable."""
    with _reading(path) as connection:
        query = (
            "SELECT max(at) FROM (SELECT max(created_at) AS at FROM runs UNION ALL "
            "SELECT max(ended_at) FROM runs UNION ALL SELECT max(created_at) FROM weights)"
        )
        (text,) = connection.execute(query).fetchone()
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with database_errors(path):
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)
        with closing(connection):
            yield connection
