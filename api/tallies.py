"""Counters and histograms that cost next to nothing to add to. Runs in the front, on its loop.

prometheus-client's own take a lock and some microseconds for each value, which for a small model is
a tenth of a prediction. All of ours are added to on one thread: a list and a bisection do. What is
made of them at a scrape is prometheus-client's, in another thread: `list(a_dict.items())` is one
step for the interpreter, so that what is added meanwhile harms nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

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

    def add_to(self, family: HistogramMetricFamily, labels: Labels, names: list[str]) -> None:
        """Makes it a series of the family; `names` are those of its buckets."""
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum)


class Counter:
    """Counts by labels."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self._name, self._about, self._labels = name, about, labels
        self._counts: dict[Labels, int] = {}

    def add(self, *labels: str) -> None:
        """One more."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def set(self, count: int, *labels: str) -> None:
        """What was counted elsewhere."""
        self._counts[labels] = count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        yield family


class Histogram:
    """Distributions by labels; hold what `of` gives to add to it without a look-up."""

    def __init__(self, name: str, about: str, bounds: Sequence[float], *labels: str) -> None:
        self._name, self._about, self._bounds, self._labels = name, about, bounds, labels
        self._series: dict[Labels, Values] = {}

    def of(self, *labels: str) -> Values:
        """The series of these labels."""
        values = self._series.get(labels)
        if values is None:
            values = self._series[labels] = Values(self._bounds)
        return values

    def forget(self, unwanted: Callable[[Labels], bool]) -> None:
        """Lets go of series."""
        for labels in [one for one in self._series if unwanted(one)]:
            del self._series[labels]

    def collect(self) -> Iterator[Metric]:
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        for labels, values in list(self._series.items()):
            values.add_to(family, labels, names)
        yield family
