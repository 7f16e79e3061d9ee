"""A file that came in parts, read as one. Runs in the ingest process."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path


class PartsFile(io.RawIOBase):
    """The bytes of several files, one after the other; can seek, as readers of zip want.

    At most one of them is open. Raises OSError as reading them does.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = paths
        self._ends = list(accumulate(path.stat().st_size for path in paths))
        self._at = 0
        self._open: tuple[int, io.FileIO] | None = None

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the begin")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = bisect_right(self._ends, self._at)
        if part >= len(self._paths):
            return 0
        file = self._part(part)
        begin = self._ends[part - 1] if part else 0
        file.seek(self._at - begin)
        count = file.readinto(memoryview(buffer)[: self._ends[part] - self._at]) or 0
        self._at += count
        return count

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
        super().close()

    def _part(self, number: int) -> io.FileIO:
        if self._open is None or self._open[0] != number:
            if self._open is not None:
                self._open[1].close()
            self._open = (number, io.FileIO(self._paths[number]))
        return self._open[1]


def open_parts(paths: Sequence[Path]) -> io.BufferedReader:
    """One or many parts, buffered, opened for reading."""
    if len(paths) == 1:
        return paths[0].open("rb")
    return io.BufferedReader(PartsFile(paths), 1 << 20)
