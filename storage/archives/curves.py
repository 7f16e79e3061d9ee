"""A training's curves as text: a line of bars, and some of the points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

Point = tuple[int, float]

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
WIDTH = 50
"""Characters of the longest line of bars."""
_T = TypeVar("_T")


_READ = 1000
"""Points that are read of one curve, evenly chosen: ours have a hundred."""


def curves_of(given: Mapping[str, Any], most: int) -> dict[str, list[Point]]:
    """The first curves of `{name: [[step, value], ...]}`; what is no such thing is left out.

    An imported manifest may hold anything, and any number of it.
    """
    curves = {str(name): _points(values) for name, values in islice(given.items(), most)}
    return {name: points for name, points in curves.items() if points}


def _points(values: Any) -> list[Point]:
    points = []
    for item in chosen(values, _READ) if isinstance(values, list) else ():
        if isinstance(item, Sequence) and len(item) == 2 and all(map(_is_number, item)):
            points.append((item[0], float(item[1])))
    return points


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, evenly chosen if there are many; a dot where there is no finite one."""
    shown = chosen(values, WIDTH)
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return _GAP * len(shown)
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_bar((value - low) / span if span else 0.5) for value in shown)


def _bar(part: float) -> str:
    """`part` is 0 at the bottom, 1 at the top."""
    if not math.isfinite(part):
        return _GAP
    return _BARS[min(len(_BARS) - 1, int(part * len(_BARS)))]


def chosen(items: Sequence[_T], most: int) -> list[_T]:
    """At most `most` (two or more) of the items, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
