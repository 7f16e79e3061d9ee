"""How much of something is borne: so many at once, and so many a second."""

from __future__ import annotations

import time
from collections import OrderedDict


class Patience:
    """A token bucket for each name; the names used longest ago are forgotten beyond `most`."""

    def __init__(self, at_once: float, per_s: float, most: int = 10_000) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def bears(self, name: str) -> bool:
        """Counts one more; False if that is too many."""
        now = time.monotonic()
        left, then = self._left.pop(name, (self._at_once, now))
        left = min(self._at_once, left + (now - then) * self._per_s)
        borne = left >= 1
        self._left[name] = (left - 1 if borne else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return borne
