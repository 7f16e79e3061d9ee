"""Frames on a worker's socket: lengths, a JSON header, and a body of bytes that nobody decodes.

u32 header length, u64 body length (both big-endian), header, body. Used by both sides; standard
library only, Python 3.8 syntax.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

LENGTHS = struct.Struct("!IQ")
HEADER_LIMIT = 64 * 1024**2
BODY_LIMIT = 4 * 1024**3


class BrokenFrame(Exception):
    """What came is no frame: the other side is broken, and the connection of no more use."""


def encode(header: bytes, body: bytes = b"") -> bytes:
    """One frame as one piece."""
    return LENGTHS.pack(len(header), len(body)) + header + body


class FrameReader:
    """Cuts received bytes into frames; keeps what is not whole yet."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._needed = LENGTHS.size  # bytes until something can be done with what is kept

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Header and body of each frame that is whole now; to be read to its end.

        Raises BrokenFrame. What usually comes is one whole frame: it is cut out of `data` itself.
        """
        pieces: bytes | memoryview = data
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return
            # Not copied as a whole: of a large frame that would be half the cost.
            pieces = memoryview(self._kept)
            self._kept = bytearray()
        start = 0
        while True:
            self._needed = LENGTHS.size
            if len(pieces) - start < self._needed:
                break
            head, body = LENGTHS.unpack_from(pieces, start)
            if head > HEADER_LIMIT or body > BODY_LIMIT:
                raise BrokenFrame(f"a frame of {head} and {body} bytes")
            self._needed += head + body
            if len(pieces) - start < self._needed:
                break
            middle = start + LENGTHS.size + head
            yield (
                bytes(pieces[start + LENGTHS.size : middle]),
                bytes(pieces[middle : middle + body]),
            )
            start = middle + body
        self._kept += pieces[start:]
