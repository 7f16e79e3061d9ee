"""Clients that take nothing: how that is seen, and how their connection ends. Runs in the front."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_INFO = struct.Struct("@120xQ16xI")  # of `struct tcp_info`: tcp(7), linux/tcp.h
_AT_ONCE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Ends it at once: what the kernel still holds of an answer is dropped, and its client told.

    Closed otherwise, the kernel would go on offering that to somebody who does not read, half a
    megabyte for each, for minutes (socket(7), SO_LINGER).
    """
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def taken(transport: asyncio.Transport, waits: bool) -> int | None:
    """Bytes that the client has taken so far, if we wait for it or the kernel does; else None.

    What the kernel takes of us tells little: it has half a megabyte before it lets us wait. What
    is on its way counts as nothing that waits: a far client of a quiet stream is not slow.
    """
    connection = transport.get_extra_info("socket")
    if connection is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        acked, not_sent = _INFO.unpack(told)
    except (OSError, struct.error):  # no TCP, or an older kernel
        return None
    return int(acked) if waits or not_sent else None
