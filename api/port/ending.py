"""Clients that take nothing: how that is seen, and how their connection ends. Runs in the front."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

_INFO = struct.Struct("@24xI92xQ16xI")  # of `struct tcp_info`: tcp(7), linux/tcp.h
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


def taken(transport: asyncio.Transport) -> int | None:
    """Bytes that the client has taken so far, if the kernel holds more for it; else None.

    What the kernel takes of us tells little: it has half a megabyte before it lets us wait.
    """
    connection = transport.get_extra_info("socket")
    if connection is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        unacked, acked, not_sent = _INFO.unpack(told)
    except (OSError, struct.error):  # no TCP, or an older kernel
        return None
    return int(acked) if unacked or not_sent else None
