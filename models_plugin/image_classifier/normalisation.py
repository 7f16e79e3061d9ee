"""Mean and spread of a training split's pixels. Runs in the run process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_LEAST_STD = 1 / 255
"""Of a split whose pictures are all one colour."""


@dataclass(frozen=True)
class Normalisation:
    """One number per channel; pixels are in [0, 1]. The network computes (pixel - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_data(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}


class Histogram:
    """Counts of the 256 values per channel: exact, whatever the order of the pictures."""

    def __init__(self, channels: int) -> None:
        self._counts = torch.zeros((channels, 256), dtype=torch.int64)

    def add(self, pictures: Tensor) -> None:
        """`pictures`: uint8 (n, channels, h, w)."""
        for channel, counts in enumerate(self._counts):
            counts += torch.bincount(pictures[:, channel].reshape(-1), minlength=256)

    def normalisation(self) -> Normalisation:
        values = torch.arange(256, dtype=torch.float64) / 255
        shares = self._counts.double() / self._counts.sum(1, keepdim=True)
        mean = (shares * values).sum(1)
        variance = (shares * (values - mean[:, None]) ** 2).sum(1)
        std = variance.sqrt().clamp(min=_LEAST_STD)
        return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
