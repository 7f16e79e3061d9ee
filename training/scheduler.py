"""Gives free places to waiting runs, the oldest first. One task of the server's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..errors import ModelyardError
from ..records.runs import RunRecord
from .moves import RunMoves
from .notices import wait_event

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 30.0


class Scheduler:
    """At most `places` runs have processes at a time; `begin` is called with each that may start.

    A run holds its place until `release`: from `starting` until its processes are gone, whatever
    its record says meanwhile.
    """

    def __init__(self, moves: RunMoves, places: int, begin: Callable[[RunRecord], None]) -> None:
        self._moves = moves
        self._places = places
        self._begin = begin
        self._held: set[str] = set()
        self._wake = asyncio.Event()

    def hold(self, run_id: str) -> None:
        """Takes a place for a run that has processes already: an adopted one."""
        self._held.add(run_id)

    def release(self, run_id: str) -> None:
        """Gives a place free; nothing happens if the run holds none."""
        self._held.discard(run_id)
        self._wake.set()

    def wake(self) -> None:
        """Says that a run has begun to wait."""
        self._wake.set()

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._fill()
            except ModelyardError as error:
                log.warning("no run can be started at the moment: %s", error)
                await asyncio.sleep(1.0)
                self._wake.set()
            await wait_event(self._wake, _LOOK_AGAIN_S)

    async def _fill(self) -> None:
        while len(self._held) < self._places:
            record = await self._moves.claim_next()
            if record is None:
                return
            self._held.add(record.id)
            self._begin(record)
