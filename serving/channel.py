"""The front's end of a worker's socket: non-blocking, by readiness, without a task of its own.

No asyncio stream: those cannot pass descriptors (SCM_RIGHTS), and cost a task and a buffer more.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from collections.abc import Callable

from .frames import BrokenFrame, FrameReader
from .messages import Message, pack, unpack

_CHUNK = 1 << 16  # bytes: below the size for which malloc maps fresh pages each time


class Channel:
    """Sends messages, and hands on what comes. `on_end` is called once, when the worker hung up."""

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
    ) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._on_message = on_message
        self._on_end = on_end
        self._reader = FrameReader()
        self._waiting: deque[memoryview] = deque()
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(connection, self._readable)

    def send(self, *messages: Message) -> None:
        """Sends at once as far as the socket takes it, the rest when it takes more."""
        if not self._open:
            return
        frames = [pack(message) for message in messages]
        rest = memoryview(frames[0] if len(frames) == 1 else b"".join(frames))
        if not self._waiting:
            rest = self._write(rest)
        if rest and self._open:
            self._waiting.append(rest)
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
        self._waiting.clear()

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
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            for header, body in self._reader.feed(data):
                self._on_message(unpack(header, body))
        except (BrokenFrame, ValueError):
            self._end()

    def _writable(self) -> None:
        while self._waiting and self._open:
            rest = self._write(self._waiting[0])
            if rest:
                self._waiting[0] = rest
                return
            if self._waiting:
                self._waiting.popleft()
        if self._open:
            self._loop.remove_writer(self._socket)

    def _write(self, data: memoryview) -> memoryview:
        try:
            while data:
                data = data[self._socket.send(data) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # It is dead. What it sent before stays readable, and the end of that tells the rest.
            self._waiting.clear()
            return data[:0]
        return data


def _nothing() -> None:
    """Nobody wants to know."""
