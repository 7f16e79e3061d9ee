"""How the front leaves: not ready, no new connections, every request that was sent is answered."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import socket

from aiohttp import web

from .grpc_port import GRPC_PORT
from .lane.lane import Lane
from .services import SERVICES

LINGER_S = 0.5
"""Seconds that the port stays open: every answer ends its connection then."""
_LAST_S = 1.0
"""Seconds for what came through the door to be asked and answered; calls may take longer."""
_LOOK_S = 0.02
_SO_ATTACH_FILTER = 26  # socket(7)


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_uint16),
        ("instructions", ctypes.POINTER(_Instruction)),
    ]


async def take_leave(
    app: web.Application, runner: web.AppRunner, lane: Lane, listener: socket.socket
) -> None:
    """Before the runner's cleanup, which cuts connections that wait for their next request.

    A connection that is kept is closed by whoever closes it first; who sends the next request at
    that moment loses it. So answers say that they are the last, and clients come back elsewhere.
    """
    app[SERVICES].stopping.set()
    if GRPC_PORT in app:
        app[GRPC_PORT].leave(LINGER_S)
    await asyncio.sleep(LINGER_S)
    refuse_new(listener)
    await _accepted(listener)
    lane.stop_listening()
    loop = asyncio.get_running_loop()
    until = loop.time() + _LAST_S
    while loop.time() < until:
        if not lane.connections and not (runner.server and runner.server.connections):
            break
        await asyncio.sleep(_LOOK_S)


async def _accepted(listener: socket.socket) -> None:
    """Returns when the event loop has accepted what waited in the backlog."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    until = asyncio.get_running_loop().time() + _LAST_S
    empty = 0
    while empty < 2 and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(_LOOK_S)
        empty = 0 if waiting.poll(0) else empty + 1


def refuse_new(listener: socket.socket) -> None:
    """Lets nobody else begin to connect, while those who have may still be accepted.

    Closing a listening socket resets the connections in its backlog, with the requests that their
    clients have sent already. A socket filter that drops all leaves them: whoever comes now tries
    again in a second, and is refused. Where it cannot be attached nothing is changed.
    """
    return_nothing = _Instruction(0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0 bytes
    program = _Program(1, ctypes.pointer(return_nothing))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
