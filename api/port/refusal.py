"""A connection that may not stay: told so in HTTP when it asks, and closed. Runs in the front."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from ..errors import told_problem
from ..lane.answers import whole

_LINGER_S = 1.0
"""Closing at once would reset the connection, and the answer with it, if its request has not been
read."""
_MOST = 256
"""Connections that are waited for; more are cut at once."""
RETRY_S = 5


class Refusals:
    """Those that are being told. Their descriptors are few: the spare ones, for a second."""

    def __init__(self) -> None:
        self._telling: set[Refusal] = set()

    def refuse(self, transport: asyncio.BaseTransport, why: str) -> None:
        """Takes the connection over."""
        cast(asyncio.Transport, transport)
        if len(self._telling) >= _MOST:
            cast(asyncio.Transport, transport).abort()
            return
        refusal = Refusal(why, self._telling)
        transport.set_protocol(refusal)
        refusal.connection_made(transport)


class Refusal(asyncio.Protocol):
    """One of them."""

    def __init__(self, why: str, telling: set[Refusal]) -> None:
        self._why = why
        self._telling = telling
        self._told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._telling.add(self)
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._telling.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._told:
            return
        self._told = True
        told = told_problem(503, self._why, "busy", {"Retry-After": str(RETRY_S)})
        self._transport.write(whole(told))
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            if self._transport.can_write_eof():
                self._transport.write_eof()
