"""Frames on a worker's socket: lengths, a JSON header, and a body of bytes that nobody decodes.

u32 header length, u64 body length (both big-endian), header, body. A large body stands in shared
memory in place of the frame's end (memfd_create(2)), and its descriptor comes with the frame
(unix(7), SCM_RIGHTS): through the socket it would go in hundreds of pieces, each with a system call
and a wake-up on both sides. Used by both sides; standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Optional, Tuple  # noqa: UP035 - Python 3.8

_INT = struct.Struct("i")
LENGTHS = struct.Struct("!IQ")
HEADER_LIMIT = 64 * 1024**2
BODY_LIMIT = 4 * 1024**3
SHARED_FROM = 256 * 1024
"""Bytes of a body from which it goes by shared memory."""
_SHARED = 1 << 63  # in the body's length: it is in the next descriptor
_MOST_FDS = 16  # of one read; a sender sends one at a time

Parcel = Tuple[bytes, Optional[int]]  # noqa: UP006, UP045 - Python 3.8
"""Bytes for the socket, and the descriptor that goes with their first one."""


def encode_shared(header: bytes, body: bytes) -> Parcel | None:
    """One frame with its body in shared memory; None where there is none to be had."""
    try:
        fd = os.memfd_create("modelyard", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return None
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        os.close(fd)
        return None
    return LENGTHS.pack(len(header), len(body) | _SHARED) + header, fd


def receive(connection: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """What has come, and the descriptors that came with it, which are the caller's to close."""
    data, told, _, _ = connection.recvmsg(
        size, socket.CMSG_SPACE(_MOST_FDS * _INT.size), socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, content in told:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(content) // _INT.size * _INT.size
            fds.extend(value for (value,) in _INT.iter_unpack(content[:whole]))
    return data, fds


def send(connection: socket.socket, data: bytes | memoryview, fd: int | None) -> int:
    """Sends as much as the socket takes, and the descriptor; how many bytes that was."""
    if fd is None:
        return connection.send(data)
    told = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _INT.pack(fd))
    return connection.sendmsg([data], [told])


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
        self._fds: deque[int] = deque()

    def close(self) -> None:
        """Closes descriptors whose frames will not come."""
        while self._fds:
            os.close(self._fds.popleft())

    def feed(self, data: bytes, fds: Iterable[int] = ()) -> Iterator[tuple[bytes, bytes]]:
        """Header and body of each frame that is whole now; to be read to its end. `fds` came with
        `data`.

        Raises BrokenFrame. What usually comes is one whole frame: it is cut out of `data` itself.
        """
        self._fds.extend(fds)
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
            shared, body = body & _SHARED, body & ~_SHARED
            if head > HEADER_LIMIT or body > BODY_LIMIT:
                raise BrokenFrame(f"a frame of {head} and {body} bytes")
            self._needed += head + (0 if shared else body)
            if len(pieces) - start < self._needed:
                break
            middle = start + LENGTHS.size + head
            header = bytes(pieces[start + LENGTHS.size : middle])
            if shared:
                yield header, self._content(body)
                start = middle
            else:
                yield header, bytes(pieces[middle : middle + body])
                start = middle + body
        self._kept += pieces[start:]

    def _content(self, size: int) -> bytes:
        if not self._fds:
            raise BrokenFrame("a body's descriptor has not come")
        fd = self._fds.popleft()
        try:
            pieces, read = [], 0
            while read < size:
                piece = os.pread(fd, size - read, read)
                if not piece:
                    raise BrokenFrame("a body is shorter than its frame says")
                pieces.append(piece)
                read += len(piece)
        finally:
            os.close(fd)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
