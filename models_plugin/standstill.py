"""Whether a process was stopped by a signal (SIGSTOP, a debugger): whoever waits for it would wait
for ever. Runs in those that look at a plugin's process. Standard library only.
"""

from __future__ import annotations

from pathlib import Path

WATCH_S = 2.0
"""How often a process that somebody waits for is looked at."""
_LOOKS = 2


class StoodStill(Exception):
    """It was stopped by a signal, and nobody has it go on."""


class Standstill:
    """The looks at one process, each `WATCH_S` after the one before."""

    def __init__(self) -> None:
        self._looks = 0

    def look(self, pid: int) -> bool:
        """True if it was found stopped twice in a row: it does not go on by itself."""
        self._looks = self._looks + 1 if _is_stopped(pid) else 0
        return self._looks >= _LOOKS

    def forget(self) -> None:
        """Nobody waits for it now: it may be stopped."""
        self._looks = 0


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    # Behind the name, which may hold anything: proc(5).
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
