"""Memory for parts on their way, bounded over all calls and used again.

A fresh 8 MiB for every part costs as much in page faults as copying it.
"""

from __future__ import annotations

from threading import Condition


class Buffers:
    """At most `limit` bytes at once; a single larger buffer when nothing else is out."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out = 0
        self._free: list[bytearray] = []
        self._returned = Condition()

    def take(self, size: int) -> bytearray:
        """A buffer of `size` bytes with any content; waits for one. Whoever waits holds none that
        it would give back only afterwards."""
        with self._returned:
            self._returned.wait_for(lambda: not self._out or self._out + size <= self._limit)
            self._out += size
            while self._free:
                buffer = self._free.pop()
                if len(buffer) == size:
                    return buffer
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Takes a buffer back. When all are back their memory is let go."""
        with self._returned:
            self._out -= len(buffer)
            self._free = [*self._free, buffer] if self._out else []
            self._returned.notify_all()
