"""The audit log of a home: who changed what, and who was refused. JSON lines, rotated by size.

HOME/audit/changes.jsonl     each change of state that somebody asked for, whatever came of it
HOME/audit/refused.jsonl     each request that was not allowed; beyond a rate, how many there were

Two files, so that a flood of refused requests cannot push the changes out. Older ones are called
`changes.jsonl.1` and so on. Lines are appended whole (O_APPEND, one write), under a lock, as the
server and `modelyard keys` both write. They hold no key, no argument and no query string.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CHANGES = "changes.jsonl"
REFUSED = "refused.jsonl"


@dataclass(frozen=True)
class Rotation:
    """A file of more than `size` bytes is renamed; `kept` such files stay."""

    size: int
    kept: int


ROTATION = {CHANGES: Rotation(16 * 2**20, 8), REFUSED: Rotation(4 * 2**20, 4)}


class AuditLog:
    """The log in this folder, which may be missing until the first line. Blocks on the disk."""

    def __init__(self, folder: Path, rotation: Mapping[str, Rotation] = ROTATION) -> None:
        self._folder = folder
        self._rotation = rotation

    def write(self, name: str, /, **told: Any) -> None:
        """Appends a line to `changes.jsonl` or `refused.jsonl`, after its time. Raises OSError."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": moment, **told}, separators=(",", ":")) + "\n"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        with closing(_Descriptor(self._folder / "lock", flags)) as lock:
            fcntl.flock(lock.number, fcntl.LOCK_EX)
            self._rotate(path)
            with closing(_Descriptor(path, flags | os.O_APPEND)) as file:
                _append(file.number, line.encode())

    def _rotate(self, path: Path) -> None:
        rotation = self._rotation[path.name]
        if not path.exists() or path.stat().st_size < rotation.size:
            return
        numbered = [
            path,
            *(path.with_name(f"{path.name}.{n}") for n in range(1, rotation.kept + 1)),
        ]
        for older, newer in zip(reversed(numbered), reversed(numbered[:-1]), strict=False):
            if newer.exists():
                newer.rename(older)


def _append(descriptor: int, line: bytes) -> None:
    """All of the line or nothing: half of one would spoil the next. Raises OSError."""
    end = os.fstat(descriptor).st_size
    if os.write(descriptor, line) < len(line):  # the disk was full in the middle
        os.ftruncate(descriptor, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Descriptor:
    def __init__(self, path: Path, flags: int) -> None:
        self.number = os.open(path, flags, 0o600)

    def close(self) -> None:
        os.close(self.number)
