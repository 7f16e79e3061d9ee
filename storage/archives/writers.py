"""gzip and xz streams that do not spend time on what does not shrink.

Weights are numbers that look like noise: zlib makes 7 % of them at 25 MB/s, lzma as much at 5. So
each block is tried by a sample, and what would hardly shrink is stored as it is, at the speed of a
copy. What comes out is one ordinary stream of RFC 1952, or of the .xz format 1.2
(https://tukaani.org/xz/xz-file-format.txt), the same bytes for the same content.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

BLOCK = 4 << 20  # bytes
_SAMPLE = 16 << 10
_SAMPLES = 4
_WORTH = 0.9
"""Of its size: what a sample must shrink below for its block to be compressed."""

_XZ_FLAGS = b"\x00\x01"  # the check of each block is a CRC32
_XZ_DICT = 12  # 256 KiB (format, section 5.3.1), the dictionary of preset 0
_XZ_FILTERS: tuple[dict[str, Any], ...] = (
    {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 10},
)
_LZMA2_STORED = 64 << 10  # bytes of one stored chunk: its length has 16 bits


class BlockWriter:
    """A file that is written in blocks; `send` gets what becomes of them."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._pending = bytearray()
        self._begin()

    def write(self, data: bytes) -> int:
        self._pending += data
        while len(self._pending) >= BLOCK:
            self._block(bytes(self._pending[:BLOCK]))
            del self._pending[:BLOCK]
        return len(data)

    def close(self) -> None:
        """Writes what is left and the stream's end; nothing is closed that was not opened here."""
        if self._pending:
            self._block(bytes(self._pending))
            self._pending.clear()
        self._end()

    def _begin(self) -> None: ...

    def _block(self, data: bytes) -> None:
        raise NotImplementedError

    def _end(self) -> None: ...


class GzipWriter(BlockWriter):
    """One gzip member. Its time stamp is zero, so that the same content gives the same bytes."""

    def _begin(self) -> None:
        self._crc, self._size = 0, 0
        self._send(b"\x1f\x8b\x08\x00" + b"\0" * 5 + b"\xff")

    def _block(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        # Each block is deflated on its own and ends on a byte, so that they join to one stream.
        deflate = zlib.compressobj(1 if shrinks(data) else 0, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._send(deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH))

    def _end(self) -> None:
        self._send(zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS).flush())
        self._send(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


class XzWriter(BlockWriter):
    """One .xz stream of independent blocks, compressed by lzma, or stored as LZMA2 can store."""

    def _begin(self) -> None:
        self._index: list[tuple[int, int]] = []
        self._send(b"\xfd7zXZ\x00" + _XZ_FLAGS + _crc32(_XZ_FLAGS))

    def _block(self, data: bytes) -> None:
        header = bytes([2, 0, 0x21, 1, _XZ_DICT, 0, 0, 0])  # 12 bytes with its CRC; one filter
        header += _crc32(header)
        if shrinks(data):
            packed = lzma.compress(data, format=lzma.FORMAT_RAW, filters=_XZ_FILTERS)
        else:
            packed = _lzma2_stored(data)
        self._index.append((len(header) + len(packed) + 4, len(data)))
        self._send(header + packed + _padding(len(packed)) + _crc32(data))

    def _end(self) -> None:
        records = b"".join(_number(unpadded) + _number(size) for unpadded, size in self._index)
        index = b"\0" + _number(len(self._index)) + records
        index += _padding(len(index))
        self._send(index + _crc32(index))
        footer = struct.pack("<I", (len(index) + 4) // 4 - 1) + _XZ_FLAGS
        self._send(_crc32(footer) + footer + b"YZ")


def shrinks(data: bytes) -> bool:
    """Whether it is worth the time to compress, by a few samples of it."""
    step = max(1, len(data) // _SAMPLES)
    # Each on its own: that one sample repeats another, far away, is of no use to the compressor.
    samples = [data[at : at + _SAMPLE] for at in range(0, len(data), step)]
    packed = sum(len(zlib.compress(sample, 1)) for sample in samples)
    return packed < _WORTH * sum(map(len, samples))


def _lzma2_stored(data: bytes) -> bytes:
    """LZMA2 chunks that hold the bytes as they are: 1 resets the dictionary, 2 goes on, 0 ends."""
    chunks = []
    for at in range(0, len(data), _LZMA2_STORED):
        part = data[at : at + _LZMA2_STORED]
        chunks.append(struct.pack(">BH", 2 if at else 1, len(part) - 1) + part)
    return b"".join([*chunks, b"\0"])


def _crc32(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))


def _padding(size: int) -> bytes:
    return b"\0" * (-size % 4)


def _number(value: int) -> bytes:
    """A number of the .xz format: seven bits a byte, the lowest first (section 1.2)."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
