"""Looks at a run's processes, once a heartbeat: stopped ones, and more memory than is allowed.

Runs in the supervisor. Nothing of the run is asked: its code may do anything to its own process.
"""

from __future__ import annotations

import os

from ..models_plugin.memory import pss_of, rss_of
from .ending import Death
from .identity import descendants, read_stat

STOPPED_LOOKS = 8
"""Heartbeats (of a second) for which a run process may be stopped by a signal."""


class Watch:
    """`memory_limit` is bytes of PSS of all processes of the run, 0 for no limit."""

    def __init__(self, memory_limit: int = 0) -> None:
        self._limit = memory_limit
        self._stopped = 0

    def look(self, pid: int) -> Death | None:
        """Why the run is to be ended, if it is; `pid` is its process."""
        stat = read_stat(pid)
        # By a debugger it is traced ("t"), which is no stop of its own.
        self._stopped = self._stopped + 1 if stat is not None and stat.state == "T" else 0
        if self._stopped >= STOPPED_LOOKS:
            return Death(stopped=True)
        if self._limit:
            pids = [one.pid for one in descendants(os.getpid())]
            # Pages that processes share count in each one's RSS, but only PSS, which costs
            # milliseconds, tells how much that is.
            if sum(rss_of(one) for one in pids) > self._limit:
                used = sum(pss_of(one) for one in pids)
                if used > self._limit:
                    return Death(used=used, limit=self._limit)
        return None
