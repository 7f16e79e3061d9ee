"""How long batches take, learnt: how many items pay, and how long a queue will last.

A batch of n items takes about a·n + b, with a line for each shape of request. What was measured is
forgotten exponentially, so that a line follows its model; and where nothing but one size was seen
for a while, the next sizes are tried anew. Runs in the front; pure.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Mapping

_KEPT = 0.98  # of the weight of what was measured, at each new measurement
_PAYS = 0.03  # a larger batch that saves less than this of an item's time does not pay
_SPREAD = 0.05  # sizes whose variance is below this tell nothing about the fixed part
_SHAPES = 64  # lines kept, the least recently used leaving first


class Line:
    """Seconds of a batch over its items, by least squares with exponential forgetting."""

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._largest = 1.0
        self.item_s: float | None = None
        """What an item took of late, in seconds."""

    def add(self, items: int, seconds: float) -> None:
        """A batch of so many items took so long."""
        self._weight = self._weight * _KEPT + 1.0
        self._n = self._n * _KEPT + items
        self._t = self._t * _KEPT + seconds
        self._nn = self._nn * _KEPT + items * items
        self._nt = self._nt * _KEPT + items * seconds
        self._largest = max(float(items), self._largest * _KEPT)
        self.item_s = _follow(self.item_s, items, seconds)

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
        self.slowest_s = 0.0
        """What an item of the slowest shape takes, in seconds; 0 if nothing is known yet."""

    def learn(self, shape: Hashable, items: int, seconds: float) -> None:
        """A batch of so many items of one shape was in a worker for so long."""
        self._line(shape).add(items, seconds)
        self._item_s = _follow(self._item_s, items, seconds)
        self.slowest_s = max(line.item_s or 0.0 for line in self._lines.values())

    def most(self, shape: Hashable, most: int) -> int:
        """Items that the next batch of this shape should have at most."""
        return self._line(shape).best(most, self._target_s) if most > 1 else 1

    def seconds(self, shape: Hashable, items: int) -> float:
        """How long such a batch is likely to take; 0 if nothing is known."""
        return self._line(shape).seconds(items)

    def work_s(self, work: Mapping[Hashable, int]) -> float | None:
        """How long one worker would take for so many items of each shape, in seconds; None if
        nothing is known yet. What is not known of a shape is taken from the others."""
        if self._item_s is None:
            return None
        seconds = 0.0
        for shape, items in work.items():
            line = self._lines.get(shape)
            item_s = None if line is None else line.item_s
            seconds += items * (self._item_s if item_s is None else item_s)
        return seconds

    def _line(self, shape: Hashable) -> Line:
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = Line()
            if len(self._lines) > _SHAPES:
                self._lines.popitem(last=False)
        else:
            self._lines.move_to_end(shape)
        return line


def _follow(item_s: float | None, items: int, seconds: float) -> float:
    """The running mean of an item's seconds: of large batches more, as it is items that wait."""
    now = seconds / items
    return now if item_s is None else item_s + min(0.5, 0.05 * items) * (now - item_s)
