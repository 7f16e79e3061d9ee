"""Bounds a run's log on disk: the middle of a log that grows too large is given back.

The file keeps its length, with a hole where the middle was (fallocate(2), FALLOC_FL_PUNCH_HOLE):
the writers, which append, notice nothing, and the offsets of readers keep their meaning. Called by
the supervisor with each heartbeat; read by the server.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from .paths import open_file

LIMIT = 256 * 1024**2
"""Bytes on disk at which the middle goes."""
_HEAD, _TAIL = 1024**2, 64 * 1024**2
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_BLOCK = 4096


def bound_log(path: Path, limit: int = LIMIT) -> None:
    """Gives back all but the first and the last part of a log that holds more than `limit` bytes.

    Raises OSError; a file system that cannot make holes keeps the whole log.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return
    if stat.st_blocks * 512 <= limit:
        return
    head, tail = min(_HEAD, limit // 4), min(_TAIL, limit // 4)
    start = -(-head // _BLOCK) * _BLOCK
    length = (stat.st_size - tail - start) // _BLOCK * _BLOCK
    if length <= 0:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.fallocate(
            descriptor, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_long(start), ctypes.c_long(length)
        )
        if done != 0 and ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def read_log(path: Path, offset: int, most: int) -> tuple[bytes, int]:
    """The log's next piece from a byte on, at most `most` bytes, and where the next one begins.

    Empty at the end. In the place of a hole stands one line that says how much is gone.
    """
    try:
        with open_file(path) as file:
            end = file.seek(0, os.SEEK_END)
            if offset >= end:
                return b"", offset
            start = _next(file.fileno(), offset, os.SEEK_DATA, end)
            if start > offset:
                gone = f"\n[{start - offset} bytes of this log were given up: it grew too large]\n"
                return gone.encode(), start
            upto = _next(file.fileno(), offset, os.SEEK_HOLE, end)
            file.seek(offset)
            piece = file.read(min(most, upto - offset))
            return piece, offset + len(piece)
    except FileNotFoundError:  # nothing was written yet
        return b"", offset


def _next(descriptor: int, offset: int, what: int, end: int) -> int:
    try:
        return os.lseek(descriptor, offset, what)
    except OSError:  # past the last data, or a file system that knows no holes
        return end if what == os.SEEK_HOLE else offset
