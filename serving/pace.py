"""How long batches take, learnt: how many items pay, and how long a queue will last.

A batch of n items takes about a·n + b, with a line for each shape of request. What was measured is
forgotten exponentially, so that a line follows its model; and where nothing but one size was seen
for a while, the next sizes are tried anew. Runs in the front; pure.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable

_KEPT = 0.98  # of the weight of what was measured, at each new measurement
_PAYS = 0.03  # a larger batch that saves less than this of an item's time does not pay
_SPREAD = 0.05  # sizes whose variance is below this tell nothing about the fixed part
_SHAPES = 64  # lines kept, the least recently used leaving first


class Line:
    """Seconds of a batch over its items, by least squares with exponential forgetting."""

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._largest = 1.0

    def add(self, items: int, seconds: float) -> None:
        """A batch of so many items took so long."""
        self._weight = self._weight * _KEPT + 1.0
        self._n = self._n * _KEPT + items
        self._t = self._t * _KEPT + seconds
        self._nn = self._nn * _KEPT + items * items
        self._nt = self._nt * _KEPT + items * seconds
        self._largest = max(float(items), self._largest * _KEPT)

    @property
    def known(self) -> bool:
        return self._weight > 0

    def fit(self) -> tuple[float, float | None]:
        """(a, b) in seconds; b is None while all batches had about the same size."""
        n, t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - n * n
        if variance < _SPREAD * n:
            return t / n, None
        slope = (self._nt / self._weight - n * t) / variance
        # A slope below zero is noise: more items are never less work.
        slope = max(slope, 0.05 * t / n)
        return slope, t - slope * n

    def seconds(self, items: int) -> float:
        """What a batch of so many items will take; 0 if nothing is known."""
        if not self.known:
            return 0.0
        a, b = self.fit()
        return a * items + (b or 0.0)

    def best(self, most: int, target_s: float | None) -> int:
        """Items up to which a larger batch pays, and stays below the target; 1 at least."""
        if not self.known:
            return most
        a, b = self.fit()
        # Where it is not known what a batch saves, one twice as large as any of late tells.
        pays = 2 * self._largest if b is None else max(b, 0.0) / (_PAYS * a)
        bounds = [float(most), pays]
        if target_s is not None:
            bounds.append((target_s - (b or 0.0)) / a)
        return max(1, min(most, math.floor(min(bounds))))


class Pace:
    """What was learnt of one version's workers."""

    def __init__(self, target_s: float | None = None) -> None:
        self._target_s = target_s
        self._lines: OrderedDict[Hashable, Line] = OrderedDict()
        self._item_s: float | None = None

    def learn(self, shape: Hashable, items: int, seconds: float) -> None:
        """A batch of so many items of one shape was in a worker for so long."""
        self._line(shape).add(items, seconds)
        now = seconds / items
        # Of large batches more: it is items that wait.
        share = min(0.5, 0.05 * items)
        self._item_s = now if self._item_s is None else self._item_s + share * (now - self._item_s)

    def most(self, shape: Hashable, most: int) -> int:
        """Items that the next batch of this shape should have at most."""
        return self._line(shape).best(most, self._target_s) if most > 1 else 1

    def seconds(self, shape: Hashable, items: int) -> float:
        """How long such a batch is likely to take; 0 if nothing is known."""
        return self._line(shape).seconds(items)

    def wait_s(self, items: int, workers: int) -> float | None:
        """How long so many items will keep the workers busy; None if nothing is known yet."""
        return None if self._item_s is None else items * self._item_s / max(1, workers)

    def items_in(self, seconds: float, workers: int) -> float:
        """How many items the workers do in this time; without end if nothing is known yet."""
        if not self._item_s:
            return math.inf
        return seconds * max(1, workers) / self._item_s

    def _line(self, shape: Hashable) -> Line:
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = Line()
            if len(self._lines) > _SHAPES:
                self._lines.popitem(last=False)
        else:
            self._lines.move_to_end(shape)
        return line
