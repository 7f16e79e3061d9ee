"""Answers that their clients do not take: how much of the front's memory they may have together.

Each reader alone is cut off when it stands still for `client_timeout`. Until then a thousand who
ask for a large answer and take nothing have a thousand of them here. So all have one budget, and
when it is used up those are cut off who have let their answer wait longest. Runs in the front.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..metrics import Metrics
from .pace import Phase

BUDGET = 128 * 1024**2
"""Bytes, over all connections."""
_LOOK_S = 0.02


class Reader(Protocol):
    """A connection, as it is known here."""

    def cut(self, phase: Phase) -> None:
        """Ends it."""

    def left_to_send(self) -> int:
        """Bytes that it has not taken."""


class Unread:
    """Those of one port. `metrics` counts who is cut off."""

    def __init__(self, metrics: Metrics, budget: int = BUDGET) -> None:
        self._metrics = metrics
        self._budget = budget
        self._readers: dict[Reader, int] = {}  # bytes; who has waited longest first
        self._size = 0
        self._looking: asyncio.Handle | None = None

    def waits(self, reader: Reader) -> None:
        """It has more to take than its transport likes to keep."""
        self.taken(reader)
        size = self._readers[reader] = reader.left_to_send()
        self._size += size
        if self._size > self._budget and self._looking is None:
            # Not at once: transports tell it before they have tried to send.
            self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def taken(self, reader: Reader) -> None:
        """It has taken most of it, or has gone."""
        self._size -= self._readers.pop(reader, 0)

    def _look(self) -> None:
        self._looking = None
        for reader, counted in list(self._readers.items()):
            left = reader.left_to_send()
            self._readers[reader] = left
            self._size += left - counted
        for reader in list(self._readers):
            if self._size <= self._budget:
                return
            self.taken(reader)
            self._metrics.connection_cut(Phase.ANSWER.value)
            reader.cut(Phase.ANSWER)
