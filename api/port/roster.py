"""The connections of one port: how many there may be, and who takes too long. Runs in the front."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
from collections import Counter
from typing import Protocol

from ...settings import Settings
from ..metrics import Metrics
from .addresses import Addresses
from .pace import LOOK_S, Limits, Pace, Phase
from .unread import Unread

log = logging.getLogger(__name__)

_SPARE_FDS = 64
_AT_ONCE = 500
"""Connections that are looked at in one go: it takes about a millisecond."""


class Held(Protocol):
    """A connection as the roster knows it."""

    pace: Pace

    def phase(self) -> Phase | None:
        """What it is doing; None: it has ended."""

    def moved(self) -> int:
        """See `Pace.overdue`."""

    def cut(self, phase: Phase) -> None:
        """Ends it: it took too long for this."""


class Roster:
    """Every connection of the port. `proxies` are not counted by address, nor is this machine."""

    def __init__(self, settings: Settings, metrics: Metrics, proxies: Addresses) -> None:
        self.metrics = metrics
        self.unread = Unread(metrics)
        self._limits = Limits.of(settings)
        self._most = settings.max_connections
        self._most_of_one = settings.client_connections
        self._proxies = proxies
        self._here: dict[Held, str | None] = {}
        self._of_one: Counter[str] = Counter()
        self._most_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FDS
        self._watching = asyncio.ensure_future(self._watch())

    def close(self) -> None:
        """Nobody is looked at any more."""
        self._watching.cancel()

    @property
    def connections(self) -> list[Held]:
        """All that there are."""
        return list(self._here)

    # -- who is here --------------------------------------------------------------------------

    def refusal(self, transport: asyncio.BaseTransport) -> str | None:
        """Why this one may not stay; None: it may. `enter` is to follow."""
        # Workers, files and what comes from workers need descriptors too. The lowest free number
        # is given each time.
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.fileno() > self._most_fds:
            return self._refused("descriptors", "The server has no descriptor left for it.")
        if len(self._here) >= self._most:
            told = f"The server has {self._most} connections, which is the most (max_connections)."
            return self._refused("full", told)
        key = self._key(transport)
        if key is not None and self._of_one[key] >= self._most_of_one:
            told = f"You have {self._most_of_one} connections, which is the most of one address"
            return self._refused("address", f"{told} (client_connections).")
        return None

    def enter(self, connection: Held, transport: asyncio.BaseTransport) -> None:
        """It stays."""
        key = self._here[connection] = self._key(transport)
        if key is not None:
            self._of_one[key] += 1

    def pass_on(self, old: Held, new: Held) -> None:
        """The same connection has another reader now."""
        self._here[new] = self._here.pop(old)

    def leave(self, connection: Held) -> None:
        """It has ended; one that was not here does nothing."""
        if connection not in self._here:
            return
        key = self._here.pop(connection)
        if key is not None:
            self._of_one[key] -= 1
            if not self._of_one[key]:
                del self._of_one[key]

    def _refused(self, why: str, told: str) -> str:
        self.metrics.connection_refused(why)
        return told

    def _key(self, transport: asyncio.BaseTransport) -> str | None:
        """Whom it counts for. Whoever has one address of IPv6 has 2 ** 64 of them."""
        peer = transport.get_extra_info("peername")
        if not self._most_of_one or not peer:
            return None
        try:
            address = ipaddress.ip_address(peer[0].partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None) or address
        if mapped.is_loopback or mapped in self._proxies:
            return None
        if isinstance(mapped, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((mapped, 64), strict=False))
        return str(mapped)

    # -- who takes too long -------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            cut: Counter[str] = Counter()
            connections = self.connections
            for start in range(0, len(connections), _AT_ONCE):
                self._look(connections[start : start + _AT_ONCE], cut)
                await asyncio.sleep(0)
            slow = {phase: count for phase, count in cut.items() if phase != Phase.IDLE.value}
            if slow:
                told = ", ".join(f"{count} at the {phase}" for phase, count in slow.items())
                log.info("connections cut off that took too long: %s", told)

    def _look(self, connections: list[Held], cut: Counter[str]) -> None:
        now, limits = asyncio.get_running_loop().time(), self._limits
        for connection in connections:
            try:
                phase = connection.phase()
                if phase is None:
                    continue
                if connection.pace.overdue(phase, connection.moved(), now, limits):
                    cut[phase.value] += 1
                    self.metrics.connection_cut(phase.value)
                    connection.cut(phase)
            except Exception:  # of one, which must not keep the others from being looked at
                log.exception("a connection could not be looked at")
