"""The front's end of a worker's socket: non-blocking, by readiness, without a task of its own.

No asyncio stream: those cannot pass descriptors (SCM_RIGHTS), and cost a task and a buffer more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable

from .frames import BrokenFrame, FrameReader, receive, send
from .messages import Message, pack_all, unpack

_CHUNK = 1 << 16  # bytes: below the size for which malloc maps fresh pages each time


class Channel:
    """Sends messages, and hands on what comes. `on_end` is called once, when the worker hung up;
    `on_broken` before it, if that is for what it sent, which cannot be read."""

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
        on_broken: Callable[[], None] | None = None,
    ) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._on_message = on_message
        self._on_end = on_end
        self._on_broken = on_broken or _nothing
        self._reader = FrameReader()
        self._waiting: deque[_Outgoing] = deque()
        self._loop = asyncio.get_running_loop()
        self._open = True
        self.unread = False
        """True once the other side has ended without having read all that was sent to it."""
        self._loop.add_reader(connection, self._readable)

    def send(self, *messages: Message) -> None:
        """Sends at once as far as the socket takes it, the rest when it takes more."""
        if not self._open:
            return
        for data, fd in pack_all(messages):
            parcel = _Outgoing(memoryview(data), fd)
            if not self._waiting and self._write(parcel):
                continue
            if not self._open:
                parcel.sent()
                continue
            self._waiting.append(parcel)
            if len(self._waiting) == 1:
                self._loop.add_writer(self._socket, self._writable)

    def close(self) -> None:
        """Hangs up; `on_end` is not called."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._reader.close()
        self._forget()

    def drain(self) -> None:
        """Hands on what a process sent before it ended, then hangs up; `on_end` is not called."""
        if not self._open:
            return
        self._on_end = _nothing
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        while self._open and readable.poll(0):
            self._readable()
        self.close()

    def _end(self) -> None:
        if self._open:
            self.close()
            self._on_end()

    def _readable(self) -> None:
        try:
            data, fds = receive(self._socket, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            data, fds = b"", []
            # Of a Unix socket that is closed before all in it was read (unix(7) has no word of it,
            # net/unix/af_unix.c has): what was sent last has not been read to its end.
            self.unread = self.unread or error.errno == errno.ECONNRESET
        if not data:
            self._end()
            return
        try:
            for header, body in self._reader.feed(data, fds):
                self._on_message(unpack(header, body))
        except (BrokenFrame, ValueError):
            self._on_broken()
            self._end()

    def _writable(self) -> None:
        while self._waiting and self._open:
            if not self._write(self._waiting[0]):
                return
            if self._waiting:
                self._waiting.popleft()
        if self._open:
            self._loop.remove_writer(self._socket)

    def _write(self, parcel: _Outgoing) -> bool:
        """True if all of it has left."""
        try:
            while parcel.data:
                count = send(self._socket, parcel.data, parcel.fd)
                parcel.data = parcel.data[count:]
                parcel.sent()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:  # unix(7): the worker has not read the others yet
                return False
            # It is dead. What it sent before stays readable, and the end of that tells the rest.
            self.unread = True
            parcel.sent()
            self._forget()
        return True

    def _forget(self) -> None:
        self.unread = self.unread or bool(self._waiting)
        for parcel in self._waiting:
            parcel.sent()
        self._waiting.clear()


class _Outgoing:
    """What has not left yet; `fd` goes with its first byte, and is closed then."""

    __slots__ = ("data", "fd")

    def __init__(self, data: memoryview, fd: int | None) -> None:
        self.data = data
        self.fd = fd

    def sent(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _nothing() -> None:
    """Nobody wants to know."""
