"""The lane of one server: the port and its connections. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ...settings import Settings
from ..metrics import Metrics
from ..services import Services
from .connection import Connection
from .shared import Shared

IDLE_S = 75.0
"""Seconds after which a connection without a request is closed."""
BODY_S = 60.0
"""Seconds within which the body has to come whose head has come."""
_LOOK_S = 5.0
_END_S = 0.02


class Lane:
    """Makes the protocol of each connection; `framework` is what takes those that are not ours."""

    def __init__(
        self, here: Services, settings: Settings, metrics: Metrics, framework: web.Server
    ) -> None:
        self.listening: asyncio.Server | None = None
        self._shared = Shared(here, settings, metrics, framework)
        self._loop = asyncio.get_running_loop()
        self._look = self._loop.call_later(_LOOK_S, self._looked)

    def __call__(self) -> Connection:
        return Connection(self._shared)

    @property
    def connections(self) -> list[Connection]:
        """Those that are ours now."""
        return [one for one in self._shared.connections if isinstance(one, Connection)]

    def stop_listening(self) -> None:
        """Closes the port."""
        if self.listening is not None:
            self.listening.close()

    async def close(self, timeout_s: float) -> None:
        """Closes connections that wait for a request, and the others once they have answered; cuts
        those that have not after so many seconds."""
        self._look.cancel()
        until = self._loop.time() + timeout_s
        while self.connections and self._loop.time() < until:
            for connection in self.connections:
                connection.close_if_idle()
            await asyncio.sleep(_END_S)
        for connection in self.connections:
            connection.abort()
        if self._shared.tasks:
            await asyncio.wait(list(self._shared.tasks), timeout=1.0)

    def _looked(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            connection.look(now - IDLE_S, now - BODY_S)
        self._look = self._loop.call_later(_LOOK_S, self._looked)
