"""Copies of a training's files: no larger on disk than they are, and only if there is room.

Runs in the run process. Python 3.8 syntax, standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

SPARE_BYTES = 256 << 20
"""What is left free for the records and logs of all runs."""

_BLOCK = 512  # of st_blocks, whatever the file system's is (stat(2))
_PIECE = 1 << 20


def require_room(files: Iterable[Path], folder: Path) -> None:
    """Raises OSError if copies of these files would fill the disk that `folder` is on."""
    needed = 0
    for path in files:
        try:
            now = os.lstat(path)
        except OSError:
            continue
        needed += min(now.st_size, now.st_blocks * _BLOCK)
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if needed > free - SPARE_BYTES:
        raise OSError(
            errno.ENOSPC,
            f"a copy takes {_mib(needed)} of the {_mib(free)} that are free on the server's disk, "
            f"and {_mib(SPARE_BYTES)} have to stay so",
        )


def copy(path: Path, target: Path) -> None:
    """A copy, no link: the module may go on writing. A file that is gone or none now is left."""
    try:
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        now = os.fstat(source)
        if stat.S_ISREG(now.st_mode):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb", buffering=0) as file:
                for begin, end in _data(source, now.st_size):
                    _copy_range(source, file.fileno(), begin, end)
                file.truncate(now.st_size)  # a hole at the end
    finally:
        os.close(source)


def _data(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where there are data, as (begin, end): between them are holes."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(source, end, os.SEEK_DATA)
            end = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left, lseek(2)
                return
            begin, end = end, size  # a file system that cannot tell
        if begin < end:
            yield begin, end


def _copy_range(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        piece = os.pread(source, min(_PIECE, end - begin), begin)
        if not piece:  # it has been cut meanwhile
            return
        view = memoryview(piece)
        while view:
            written = os.pwrite(target, view, begin)
            begin += written
            view = view[written:]


def _mib(size_bytes: int) -> str:
    return f"{max(0, size_bytes) / (1 << 20):.0f} MiB"
