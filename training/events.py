"""TensorBoard event files, without torch or TensorFlow. Runs in the run process.

The file is a TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord): for each record
the length (u64), the masked CRC-32C of the length, the data and its masked CRC-32C. The data are
TensorBoard's own `Event` messages. TensorBoard's EventFileWriter is not used: it brings a thread
and a queue of its own, imports TensorFlow where that is installed, and takes 16 us for a record,
nearly all of it for the checksum, which takes 4 here. Nor is protobuf, which a model's own
interpreter may lack and which takes 0.2 s to import: these messages are a few fields, written here
in its wire format (https://protobuf.dev/programming-guides/encoding/). Python 3.8 syntax and
library.
"""

from __future__ import annotations

import functools
import math
import os
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from .metrics import Point


class EventsWriter:
    """Appends points to a new event file in `folder`; used by one thread."""

    def __init__(self, folder: Path, resumed_after: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(folder / name, flags, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        self._append(record(_version(now)))
        if resumed_after is not None:
            self._append(record(_session_start(now, resumed_after + 1)))

    def write(self, points: Iterable[Point]) -> None:
        """One event a point, all its scalars in it. All or, raising OSError, none is written."""
        self._append(b"".join(record(_event(point)) for point in points))

    def _append(self, content: bytes) -> None:
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written

    def close(self) -> None:
        os.close(self._descriptor)


# Event (tensorboard/compat/proto/event.proto): wall_time = 1 (double), step = 2 (int64),
# file_version = 3 (string), summary = 5 (Summary). Summary: value = 1 (repeated Value). Value:
# tag = 1 (string), simple_value = 2 (float). session_log = 7 (SessionLog: status = 1, START is 1):
# TensorBoard drops what earlier files said of its step and later ones. A key is the field's number
# << 3 and its wire type.
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = b"\x09", b"\x10", b"\x1a", b"\x2a"
_SESSION_START = b"\x3a\x02\x08\x01"
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"
_double, _float = struct.Struct("<d").pack, struct.Struct("<f").pack


def _version(wall_time: float) -> bytes:
    text = b"brain.Event:2"
    return _WALL_TIME + _double(wall_time) + _FILE_VERSION + _varint(len(text)) + text


def _session_start(wall_time: float, step: int) -> bytes:
    return _WALL_TIME + _double(wall_time) + _STEP + _varint(step) + _SESSION_START


def _event(point: Point) -> bytes:
    summary = b"".join(
        [
            _tagged(name) + _single(value)
            for name, value in point.values.items()
            if value is not None
        ]
    )
    step = _STEP + _varint(point.step) if point.step else b""  # proto3 leaves out what is zero
    head = _WALL_TIME + _double(point.time) + step
    return head + _SUMMARY + _varint(len(summary)) + summary if summary else head


@functools.lru_cache(maxsize=4096)
def _tagged(name: str) -> bytes:
    """A Value up to the four bytes of its number."""
    tag = name.encode()
    value = (_TAG + _varint(len(tag)) + tag if tag else b"") + _SIMPLE_VALUE
    return _VALUE + _varint(len(value) + 4) + value


def _single(value: float) -> bytes:
    try:
        return _float(value)
    except OverflowError:  # beyond single precision; protobuf writes an infinity too
        return _float(math.copysign(math.inf, value))


def _varint(number: int) -> bytes:
    """From 0 on: seven bits a byte, the lowest first."""
    if number < 0x80:
        return _BYTES[number]
    parts = []
    while number > 0x7F:
        parts.append(_BYTES[number & 0x7F | 0x80])
        number >>= 7
    return b"".join(parts) + _BYTES[number]


_BYTES = [bytes([value]) for value in range(256)]


def record(data: bytes) -> bytes:
    """One TFRecord."""
    return _header(len(data)) + data + struct.pack("<I", _masked(data))


@functools.lru_cache(maxsize=256)  # events of one run have few lengths
def _header(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", _masked(packed))


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    """CRC-32C (Castagnoli), reflected polynomial 0x82F63B78 (RFC 3720, B.4)."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
