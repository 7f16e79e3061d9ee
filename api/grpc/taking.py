"""Answers that their clients do not take. Runs in the front, on its loop.

HTTP/2 lets a client leave an answer standing, as much of it as it likes, while its connection
answers every ping. gRPC tells of an answer only that all of it has gone, and cannot end a call
whose answer stands (to abort it fails: TOO_MANY_OPERATIONS, seen with grpcio 1.85). So it is the
connection that is looked at and ended, by its socket: when it takes too little for too long, by the
rule of HTTP's (`api/port/pace.py`), or when all together have left more than a budget, those who
take least. Whoever takes other answers meanwhile, as a proxy does, goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from ...addresses import Address, address_of
from ..metrics import Metrics
from ..port.pace import LOOK_S, Limits, Pace, Phase
from ..port.unread import BUDGET

log = logging.getLogger(__name__)

_MOMENT_S = 0.25
"""In which is seen who takes least."""
_ACKED = struct.Struct("=Q")
_ACKED_AT = 120
"""Bytes of `struct tcp_info` before `tcpi_bytes_acked` (linux/tcp.h; since Linux 4.2)."""
_TCP = (socket.AF_INET, socket.AF_INET6)
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what the client has not taken goes at once, and it is told (socket(7))."""


class _Connection:
    """What one has not taken: bytes and when it was handed over, by call, the oldest first."""

    def __init__(self) -> None:
        self.answers: dict[object, tuple[int, float]] = {}
        self.pace = Pace()

    @property
    def since(self) -> float:
        return next(iter(self.answers.values()))[1]

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.answers.values())


class Untaken:
    """Those of one port. `budget`: bytes of all connections."""

    def __init__(self, metrics: Metrics, limits: Limits, budget: int = BUDGET) -> None:
        self._metrics = metrics
        self._limits = limits
        self._budget = budget
        self._connections: dict[str, _Connection] = {}
        self._size = 0
        self._crowded = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def given(self, peer: str, size: int) -> None:
        """The current task ends by handing gRPC an answer of `size` bytes, and is over when all of
        that has gone. `peer` is the connection, as gRPC names it."""
        task = asyncio.current_task()
        assert task is not None, "gRPC calls a handler in a task"
        if (connection := self._connections.get(peer)) is None:
            connection = self._connections[peer] = _Connection()
        connection.answers[task] = (size, asyncio.get_running_loop().time())
        self._size += size
        if self._size > self._budget:
            self._crowded.set()
        task.add_done_callback(lambda task: self._gone(peer, connection, task))
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())

    def close(self) -> None:
        """Nobody is looked at any more."""
        if self._watching is not None:
            self._watching.cancel()

    def _gone(self, peer: str, connection: _Connection, answer: object) -> None:
        """All of it has been taken, or its client has left."""
        self._size -= connection.answers.pop(answer)[0]
        if not connection.answers:
            del self._connections[peer]

    async def _watch(self) -> None:
        while self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._crowded.wait()
            self._crowded.clear()
            try:
                cut = await self._slow() | await self._slowest()
                if cut:
                    log.info("gRPC connections cut off that left answers untaken: %d", len(cut))
                    for _ in cut:
                        self._metrics.connection_cut(Phase.ANSWER.value)
                    await asyncio.to_thread(_end, cut)
            except Exception:  # the next look may do better
                log.exception("the readers of gRPC could not be looked at")

    async def _slow(self) -> set[str]:
        """Those who take too little for too long."""
        old = asyncio.get_running_loop().time() - LOOK_S
        waiting = {peer for peer, one in self._connections.items() if one.since < old}
        taken = await _taken(waiting)
        now = asyncio.get_running_loop().time()
        return {
            peer
            for peer, size in taken.items()
            if (one := self._connections.get(peer)) is not None
            and one.pace.overdue(Phase.ANSWER, size, now, self._limits)
        }

    async def _slowest(self) -> set[str]:
        """Those who take least in a moment, until what the others have left fits the budget."""
        cut: set[str] = set()
        if self._size <= self._budget:
            return cut
        before = await _taken(self._connections)
        await asyncio.sleep(_MOMENT_S)
        after = await _taken(before)
        left = self._size
        moved = {peer: size - before[peer] for peer, size in after.items()}
        for peer in sorted(moved, key=lambda peer: moved[peer]):
            if left <= self._budget:
                break
            if peer in self._connections:
                left -= self._connections[peer].size
                cut.add(peer)
        return cut


async def _taken(peers: Collection[str]) -> dict[str, int]:
    """How many bytes each has acknowledged in its life, of those that are still there."""
    return await asyncio.to_thread(_acknowledged, set(peers)) if peers else {}


def _acknowledged(peers: Collection[str]) -> dict[str, int]:
    """Runs in a thread, as does `_end`."""
    found = {}
    for peer, connection in _sockets(peers):
        with suppress(OSError):  # it ends in this moment
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            (found[peer],) = _ACKED.unpack_from(told, _ACKED_AT)
    return found


def _end(peers: Collection[str]) -> None:
    for _, connection in _sockets(peers):
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.shutdown(socket.SHUT_RDWR)


def _sockets(peers: Collection[str]) -> Iterator[tuple[str, socket.socket]]:
    """This process's connections with these peers, open until the next is asked for.

    gRPC hands out no sockets: they are found by the address of their other end.
    """
    sought = {_address(peer): peer for peer in peers}
    for path in Path("/proc/self/fd").iterdir():
        try:
            if not stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                continue
            # A duplicate: were the number given to something else in this moment, this stays.
            with socket.socket(fileno=os.dup(int(path.name))) as connection:
                if connection.family in _TCP:
                    host, port = connection.getpeername()[:2]
                    peer = sought.get((address_of(host), port))
                    if peer is not None:
                        yield peer, connection
        except OSError:  # it is closed already, or no connection
            continue


def _address(peer: str) -> tuple[Address, int]:
    """From `ipv4:127.0.0.1:4321`, `ipv6:%5B::1%5D:4321`. Sockets for both have IPv4's as IPv6."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return address_of(host.strip("[]")), int(port)
