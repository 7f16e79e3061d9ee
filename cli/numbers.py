"""Numbers as options give them. Knows nothing of a client or a server."""

from __future__ import annotations

import math
from typing import Any

import click

LONGEST_S = 1_000_000_000.0


class Seconds(click.FloatRange):
    """More than nothing, and an end: `nan` and `inf` are no times."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, max=LONGEST_S, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail("nan is no number of seconds.", param, ctx)
        return seconds
