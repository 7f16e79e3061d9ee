"""Whether a process that a signal has stopped will go on by itself. Runs in the server."""

from __future__ import annotations

import time

LOOKS, APART_S = 6, 1.0
"""A process that is stopped at so many looks in a row, so far apart, is given up."""


class Standstill:
    """Counts how often one process was found stopped.

    By looks and not by the time between two of them: on a busy machine, or when we were stopped
    ourselves, a look may be late, and between two late ones the process may have gone on. The clock
    is the monotonic one, which nobody sets and which does not count a machine's sleep.
    """

    def __init__(self) -> None:
        self._found = 0
        self._next = 0.0

    def look(self, stopped: bool) -> bool:
        """Takes what was just seen; True if the process is to be given up. May come often."""
        if not stopped:
            self._found = 0
            return False
        now = time.monotonic()
        if self._found == 0 or now >= self._next:
            self._found, self._next = self._found + 1, now + APART_S
        return self._found >= LOOKS
