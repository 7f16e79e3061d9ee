"""How often workers of one version died of late: a crash loop must not use up the machine."""

from __future__ import annotations

from collections import deque

from .exits import DEADLINE, ENDED, Exit

_WITHIN_S = 60.0
_MOST = 5
PAUSE_S = 10.0
"""Between the starts of workers that crash again and again: at most six loads a minute."""


class Crashes:
    """Ends within the last minute; `workers` of them are there. Times are the loop's."""

    def __init__(self, workers: int) -> None:
        self._most = _MOST * workers
        self._ends: deque[float] = deque(maxlen=self._most + 1)

    def add(self, ended: Exit, now: float) -> None:
        """A worker ended; what the server did itself is no crash."""
        if ended.kind not in (DEADLINE, ENDED):
            self._ends.append(now)

    def loop(self, now: float) -> bool:
        """True if there were more than five for each worker in the last minute."""
        return len(self._ends) > self._most and self._ends[0] > now - _WITHIN_S

    def told(self, last: str | None) -> str:
        """The state in words."""
        return (
            f"The model's process ended {len(self._ends)} times within a minute; it is started "
            f"again every {PAUSE_S:g} s. The last time it {last or 'ended'}."
        )
