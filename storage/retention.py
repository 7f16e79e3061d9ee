"""Which weights versions of a model may go. Knows numbers and names, touches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .weights import READY, WeightsVersion


@dataclass(frozen=True)
class Retention:
    """What is kept of a model: the last `keep_last` versions, and the best by a metric.

    `keep_best_by` is a metric's name; `-loss` takes the smallest for the best. Without `keep_last`
    everything is kept.
    """

    keep_last: int | None = None
    keep_best_by: str | None = None

    def excess(self, versions: Sequence[WeightsVersion], kept: set[str]) -> list[WeightsVersion]:
        """Those of `versions` (newest first) that may go, oldest first; never one of `kept`.

        Only what is where it is meant to be kept goes: a version that is not published yet, or
        could not be, has nowhere else to be.
        """
        if self.keep_last is None:
            return []
        best = self._best(versions)
        return [
            version
            for version in reversed(versions[self.keep_last :])
            if version.state == READY
            and version.id not in kept
            and not version.aliases
            and (best is None or version.id != best.id)
        ]

    def _best(self, versions: Sequence[WeightsVersion]) -> WeightsVersion | None:
        if self.keep_best_by is None:
            return None
        name, sign = self.keep_best_by, 1.0
        if name.startswith("-"):
            name, sign = name[1:], -1.0
        reached = [
            (sign * value, -place, version)
            for place, version in enumerate(versions)
            if (value := _number(version.metrics.get(name))) is not None
        ]
        # Of equal ones the newest: its place is the smallest.
        return max(reached, key=lambda item: item[:2])[2] if reached else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
