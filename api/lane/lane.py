"""The lane of one server: the port and its connections. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio

from ...settings import Settings
from ..metrics import Metrics
from ..port.handler import Framework
from ..port.roster import Roster
from ..services import Services
from .connection import Connection
from .opening import FIRST, Opening
from .shared import Shared

_END_S = 0.02


class Lane:
    """Makes the protocol of each connection; `framework` makes what takes those that are not
    ours."""

    def __init__(
        self,
        here: Services,
        settings: Settings,
        metrics: Metrics,
        framework: Framework,
        roster: Roster,
    ) -> None:
        self.listening: asyncio.Server | None = None
        self._roster = roster
        self._shared = Shared(here, settings, metrics, framework, roster)
        self._first = bytearray(FIRST)
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Opening:
        return Opening(Connection(self._shared), self._first)

    @property
    def connections(self) -> list[Connection]:
        """Those that are ours now."""
        return [one for one in self._roster.connections if isinstance(one, Connection)]

    def stop_listening(self) -> None:
        """Closes the port."""
        if self.listening is not None:
            self.listening.close()

    async def close(self, until: float) -> None:
        """Closes connections that wait for a request, and the others once they have answered; cuts
        those that have not by then (of the loop's time)."""
        while self.connections and self._loop.time() < until:
            for connection in self.connections:
                connection.close_if_idle()
            await asyncio.sleep(_END_S)
        for connection in self.connections:
            connection.abort()
        if self._shared.tasks:
            await asyncio.wait(list(self._shared.tasks), timeout=1.0)
