"""How long a run's processes may still live (`max_seconds`). Used by its supervisor.

The seconds of all attempts count together; waiting and being paused do not. They are counted by
CLOCK_MONOTONIC: neither a clock that is set nor a machine that sleeps takes anything away.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress

from .paths import RunPaths, read_json, write_json

_KEEP_S = 5.0  # how much of a killed supervisor's time may be forgotten


class Allowance:
    """The time of one run; `limit_s` None is no limit."""

    def __init__(self, paths: RunPaths, limit_s: float | None) -> None:
        self._paths = paths
        self._limit_s = limit_s
        self._began = time.monotonic()
        self._before = 0.0 if limit_s is None else _spent(paths)
        self._kept_at = self._began

    @property
    def left_s(self) -> float:
        """Seconds that are left, infinite without a limit. Of a run that is trained no more is
        taken: what is left to do keeps what it has learnt."""
        if self._limit_s is None or self._paths.trained.exists():
            return math.inf
        return self._limit_s - self._spent()

    def keep(self, now: bool = False) -> None:
        """Leaves what was spent to the next attempt; now and then, or `now`."""
        if self._limit_s is None or not (now or time.monotonic() > self._kept_at + _KEEP_S):
            return
        self._kept_at = time.monotonic()
        with suppress(OSError):
            write_json(self._paths.spent, {"format": 1, "seconds": self._spent()}, durable=False)

    def _spent(self) -> float:
        return self._before + time.monotonic() - self._began


def _spent(paths: RunPaths) -> float:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float((read_json(paths.spent) or {})["seconds"])
    return 0.0
