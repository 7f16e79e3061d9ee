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
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Header and body of each frame that is whole now. Raises BrokenFrame."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= LENGTHS.size:
            head, body = LENGTHS.unpack_from(buffer)
            if head > HEADER_LIMIT or body > BODY_LIMIT:
                raise BrokenFrame(f"a frame of {head} and {body} bytes")
            end = LENGTHS.size + head + body
            if len(buffer) < end:
                return
            middle = LENGTHS.size + head
            frame = bytes(buffer[LENGTHS.size : middle]), bytes(buffer[middle:end])
            del buffer[:end]
            yield frame
