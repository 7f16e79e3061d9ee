"""Kinds of settings that are numbers: counts, times and sizes, each with its range.

A TOML file may say `true` or `2.7` where a whole number belongs: nothing is rounded, and a switch
is no number.
"""

from __future__ import annotations

import math
import re
from typing import Any

from marshmallow import ValidationError, fields

from ..errors import safe_str

MOST = 1_000_000_000
"""Of anything that is counted: more is a slip."""
MOST_BYTES = 1024**5
_UNITS = "KMGT"
_SIZE = re.compile(rf"(\d{{1,30}}(?:\.\d{{1,10}})?)\s*(?:([{_UNITS}])(?:i?B)?|B)?", re.IGNORECASE)
_FORMS = "Write a number of bytes, or with a unit (of 1024): 512M, 512MB, 2G or 2GiB."


class Count(fields.Integer):
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int = MOST, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        try:
            number = None if isinstance(value, bool | float) else int(value)
        except (TypeError, ValueError):
            number = None
        if number is None or not self.least <= number <= self.most:
            raise ValidationError(f"Write a whole number from {self.least} to {self.most}.")
        return number


class Amount(fields.Float):
    """A number of `unit` from `least` to `most`, fractions too."""

    def __init__(self, least: float, most: float, unit: str = "seconds", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.most, self.unit = least, most, unit

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not self.least <= number <= self.most:
            raise ValidationError(
                f"Write a number of {self.unit} from {self.least:.10g} to {self.most:.10g}, "
                "without a unit."
            )
        return number


class Size(fields.Integer):
    """A number of bytes of at least `least`; `512M`, `512MB`, `2G` and `2GiB` are understood (all
    of 1024, as container engines have it). With `zero`, 0 is taken too, and means that."""

    def __init__(self, least: int = 1, zero: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least, self.zero = least, zero

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(value, bool | float):
            raise ValidationError(f"Not a size. {_FORMS}")
        found = _SIZE.fullmatch(safe_str(value).strip())
        if found is None:
            raise ValidationError(f"Not a size. {_FORMS}")
        unit = found[2]
        factor = 1024 ** (_UNITS.index(unit.upper()) + 1) if unit else 1
        if "." in found[1] and not unit:
            raise ValidationError(f"Not a size: bytes have no fractions. {_FORMS}")
        size = int(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor
        if size == 0 and self.zero:
            return 0
        if not self.least <= size <= MOST_BYTES:
            zero = f", or 0 ({self.zero})" if self.zero else ""
            raise ValidationError(
                f"Too {'small' if size < self.least else 'large'}: take {written_size(self.least)} "
                f"to {written_size(MOST_BYTES)}{zero}. {_FORMS}"
            )
        return size


def written_size(size: int) -> str:
    """With the largest unit that needs no fraction: `512M`."""
    power = 0
    while power < len(_UNITS) and size and size % 1024 == 0:
        size //= 1024
        power += 1
    return f"{size}{('', *_UNITS)[power]}"
