"""Counters and histograms that cost next to nothing to add to. Runs in the front, on its loop.

prometheus-client's own take a lock and some microseconds for each value, which for a small model is
a tenth of a prediction. All of ours are added to on one thread: a list and a bisection do. They may
be read in another (`exposition.py`): `list(a_dict.items())` is one step for the interpreter, so
that what is added meanwhile harms nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Labels = tuple[str, ...]


class Values:
    """The values of one histogram series; `bounds` are the buckets' upper ones."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[int], float]:
        """How many values each bucket has, with those of the buckets below; and their sum."""
        return list(accumulate(self._counts)), self._sum


class Counter:
    """Counts by labels."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name, self.about, self.labels = name, about, labels
        self._counts: dict[Labels, int] = {}

    def add(self, *labels: str) -> None:
        """One more."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def set(self, count: int, *labels: str) -> None:
        """What was counted elsewhere."""
        self._counts[labels] = count

    def read(self) -> Iterator[tuple[Labels, int]]:
        """All counts."""
        yield from list(self._counts.items())


class Histogram:
    """Distributions by labels; hold what `of` gives to add to it without a look-up."""

    def __init__(self, name: str, about: str, bounds: Sequence[float], *labels: str) -> None:
        self.name, self.about, self.bounds, self.labels = name, about, bounds, labels
        self._series: dict[Labels, Values] = {}

    def of(self, *labels: str) -> Values:
        """The series of these labels."""
        values = self._series.get(labels)
        if values is None:
            values = self._series[labels] = Values(self.bounds)
        return values

    def forget(self, unwanted: Callable[[Labels], bool]) -> None:
        """Lets go of series."""
        for labels in [one for one in self._series if unwanted(one)]:
            del self._series[labels]

    def read(self) -> Iterator[tuple[Labels, Values]]:
        """All series."""
        yield from list(self._series.items())
