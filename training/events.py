"""TensorBoard event files, without torch or TensorFlow. Runs in the run process.

The file is a TFRecord (https://www.tensorflow.org/tutorials/load_data/tfrecord): for each record
the length (u64), the masked CRC-32C of the length, the data and its masked CRC-32C. The data are
TensorBoard's own `Event` messages. TensorBoard's EventFileWriter is not used: it brings a thread
and a queue of its own, imports TensorFlow where that is installed, and takes 16 us for a record,
nearly all of it for the checksum, which takes 4 here.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto import event_pb2  # type: ignore[import-untyped]

from .metrics import Point


class EventsWriter:
    """Appends points to a new event file in `folder`; used by one thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(folder / name, flags, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        self._append(record(_version(now)))

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


def _version(wall_time: float) -> bytes:
    return event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString()


def _event(point: Point) -> bytes:
    event = event_pb2.Event(wall_time=point.time, step=point.step)
    add = event.summary.value.add
    for name, value in point.values.items():
        if value is not None:
            add(tag=name, simple_value=value)
    return event.SerializeToString()


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
