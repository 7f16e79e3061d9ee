"""What an alias may name beside its version: others with a share of the calls, and a shadow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Split:
    """`shares`: versions with their weights, the alias's own version first; weights are above 0
    and may sum to anything. `shadow` gets copies of a part of the calls, from 0 to 1, that nobody
    waits for."""

    shares: tuple[tuple[str, float], ...]
    shadow: str | None = None
    shadow_share: float = 1.0

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version in it, the alias's own first."""
        named = [version for version, _ in self.shares]
        return tuple(dict.fromkeys([*named, *([self.shadow] if self.shadow else [])]))

    def to_data(self) -> dict[str, Any]:
        """Its JSON form in the records and in the store."""
        shares = [{"version": version, "weight": weight} for version, weight in self.shares]
        return {"versions": shares, "shadow": self.shadow, "shadow_share": self.shadow_share}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Split:
        """Raises ValueError, KeyError or TypeError for what is none."""
        shares = tuple((str(one["version"]), float(one["weight"])) for one in data["versions"])
        shadow = data.get("shadow")
        share = float(data.get("shadow_share", 1.0))
        total = sum(weight for _, weight in shares)
        some = any(not weight > 0 for _, weight in shares)
        if not 0 < total < math.inf or some or not 0 < share <= 1:
            raise ValueError("a split has no shares, or some that are none")
        return cls(shares, None if shadow is None else str(shadow), share)
