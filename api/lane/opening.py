"""The first bytes of a connection, and not more of them than a head needs. Runs in the front.

Whoever sends a large file sends its beginning with the head, and a transport hands over all that
has come: of a thousand connections at once that would be 64 KB each, before any of them is known
to send a file. So the first read is a small one, into a buffer that all share.
"""

from __future__ import annotations

import asyncio
from typing import cast

from .connection import Connection

FIRST = 4 * 1024
"""Bytes of the first read."""
_HEAD = 256 * 1024
"""As much of a head as one read would give."""
_WAIT_S = 0.5
"""After a full read it takes so long to know that no more has come."""


class Opening(asyncio.BufferedProtocol):
    """Reads until a head is here or no more has come, then the transport is `connection`'s.
    `buffer` has `FIRST` bytes."""

    def __init__(self, connection: Connection, buffer: bytearray) -> None:
        self._connection = connection
        self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._kept = b""
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._kept = self._kept + bytes(memoryview(self._buffer)[:nbytes])
        if nbytes == FIRST and len(data) < _HEAD and b"\r\n\r\n" not in data:
            # Of a head that is refused for its beginning all has to be read: a connection that is
            # closed with something unread is reset, and the refusal with it.
            if self._waiting is None:
                loop = asyncio.get_running_loop()
                self._waiting = loop.call_later(_WAIT_S, self._pass_on)
            return
        self._pass_on()

    def _pass_on(self) -> None:
        assert self._transport is not None
        self._wait_no_more()
        data, self._kept = self._kept, b""
        self._transport.set_protocol(self._connection)
        self._connection.data_received(data)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
