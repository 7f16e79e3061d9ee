"""Files of the storage process's own: written in one step, and made durable."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..stores.digests import Digests, Hasher
from ..versions import sync_folder

_CHUNK = 1024 * 1024
_ONE_BY_ONE = 64
"""More files than these are made durable by one syncfs(2): an fsync each takes milliseconds."""


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all. Not synced: what is remembered here may be lost, not wrong."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    new.write_bytes(json.dumps(data).encode())
    new.rename(path)


def read_json(path: Path) -> Any:
    """None if there is none, or it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def seen(path: Path) -> list[int]:
    """What tells that a file is the one of before, and was not written since. Raises OSError."""
    status = path.lstat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def digest_of(path: Path) -> str:
    """The file's SHA-256, as hex digits."""
    digest = hashlib.sha256()
    _read(path, digest.update)
    return digest.hexdigest()


def is_as(path: Path, size: int, digests: Digests) -> bool:
    """True if the file has these bytes."""
    if path.stat().st_size != size:
        return False
    hasher = Hasher(digests)
    _read(path, hasher.update)
    return hasher.agrees


def blake3_of(path: Path, size: int, sha256: str) -> str | None:
    """The BLAKE3 of a file of this size and SHA-256; None if it has other bytes."""
    if path.stat().st_size != size:
        return None
    hasher = Hasher(Digests(sha256), complete=True)
    _read(path, hasher.update)
    return hasher.digests.blake3 if hasher.agrees else None


def _read(path: Path, update: Callable[[memoryview], None]) -> None:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            update(view[:count])


def make_durable(files: Iterable[Path], root: Path) -> None:
    """The contents of new `files` below `root`, and all names in it. Raises OSError."""
    paths = list(files)
    if len(paths) > _ONE_BY_ONE:
        _sync_filesystem(root)
        return
    folders = {root}
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        folders.update(p for p in path.parents if p.is_relative_to(root))
    for folder in folders:
        sync_folder(folder)


def _sync_filesystem(root: Path) -> None:
    # Since Linux 5.8 it tells errors of the writes as well (syncfs(2)).
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(root))
    finally:
        os.close(descriptor)
