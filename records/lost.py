"""A database that was taken away: what is told of it, and how its records come back.

Also to those who are not the server that had it open (`presence.py`): its next start, `modelyard
keys`, `doctor` and `backup`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lost:
    """`told` and `remedy` are sentences."""

    told: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.told} {self.remedy}"


@dataclass(frozen=True)
class User:
    """The server that uses a home: its pid, and since when (nanoseconds since the epoch)."""

    pid: str
    since_ns: int


def saved_copies(database: Path) -> list[Path]:
    """What servers have saved of a database that was taken from them, the oldest first."""
    found = database.parent.glob(f"{database.name}.saved-*")
    return sorted(path for path in found if path.stat().st_size > 0)


def lost_database(database: Path, needed: bool, user: User | None) -> Lost | None:
    """What is to be told instead of using the database; None where nothing is lost.

    `needed`: the home has what only records can tell of. `user` is another process.
    """
    missing = not database.exists() or database.stat().st_size == 0
    saved = saved_copies(database)
    # A server goes on with the file that it had opened: whatever stands there now is not its own.
    taken = user is not None and saved and saved[-1].stat().st_mtime_ns > user.since_ns
    if not (taken or (missing and (needed or saved))):
        return None
    others = "without a -wal and -shm of another"
    back = f"put that in the place of {database} ({others})"
    if user is not None:
        told = (
            f"{database}: was removed or replaced while the server with pid {user.pid} had it open."
        )
        if taken:
            held = f"All that it held is in {saved[-1]}."
            return Lost(f"{told} {held}", f"Stop that server, {back}, and start it again.")
        where = f"{database}.saved-..., and its log names the file"
        told = f"{told} It saves what it held as {where}."
        return Lost(told, f"Wait for that, stop the server, {back}, and start it again.")
    told = f"{database}: is missing or empty"
    if saved:
        more = f", the newest of {len(saved)}" if len(saved) > 1 else ""
        told += f", and a server that had it open has saved what it held: {saved[-1]}{more}."
        return Lost(told, f"{back[0].upper()}{back[1:]}, then start again.")
    root = database.parent
    return Lost(
        f"{told}, but this home has runs or weights.",
        f"Put a backup of it back, or name another --home (or move {root / 'runs'} and "
        f"{root / 'weights'} away).",
    )
