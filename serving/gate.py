"""Lets models be imported a few at a time when the server starts. Runs in the front.

Fifty imports at once on two cores take as long as one after the other, and each of them the whole
of that: beyond its limit. One that takes its time, or hangs, gives its turn back after a while.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LONGEST_TURN_S = 10.0


class LoadGate:
    """As many turns at a time as there are cores, two at least."""

    def __init__(self, width: int | None = None, longest_s: float = LONGEST_TURN_S) -> None:
        self._turns = asyncio.Semaphore(width or max(2, len(os.sched_getaffinity(0))))
        self._longest_s = longest_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn, and has it for the block, but not longer than its limit."""
        await self._turns.acquire()
        over = asyncio.get_running_loop().call_later(self._longest_s, self._turns.release)
        try:
            yield
        finally:
            if over.when() > asyncio.get_running_loop().time():
                over.cancel()
                self._turns.release()
