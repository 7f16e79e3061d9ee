"""Tells those who wait that a run's record has changed. Runs in the server's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Notices:
    """Who waits for which run. It carries no news itself: who is woken reads the record."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def any(self) -> bool:
        """True if anybody waits for any run."""
        return bool(self._waiting)

    def ring(self, run_id: str) -> None:
        """Wakes all who wait for this run."""
        for event in self._waiting.get(run_id, ()):
            event.set()

    @contextmanager
    def listen(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change from now on. Enter it before reading the record."""
        event = asyncio.Event()
        self._waiting.setdefault(run_id, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[run_id]
            events.discard(event)
            if not events:
                del self._waiting[run_id]


async def wait_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Waits until the event is set, at most so long; True if it was."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
