"""The learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .arguments import TrainSettings


@dataclass(frozen=True)
class Schedule:
    """A linear rise over `warmup` steps, then a half cosine from `peak` down to `peak * factor` in
    the last of `total` steps (Loshchilov and Hutter, SGDR, 2017, without restarts)."""

    peak: float
    factor: float
    warmup: int
    total: int

    @classmethod
    def of(cls, settings: TrainSettings, steps_per_epoch: int) -> Schedule:
        total = settings.epochs * steps_per_epoch
        factor = settings.decay_factor if settings.schedule == "cosine" else 1.0
        warmup = min(round(settings.warmup_epochs * steps_per_epoch), total // 2)
        return cls(settings.learning_rate, factor, warmup, total)

    def rate(self, step: int) -> float:
        """Of `step`, counted from 1."""
        if step <= self.warmup:
            return self.peak * step / (self.warmup + 1)
        part = (step - self.warmup) / max(1, self.total - self.warmup)
        return self.peak * (self.factor + (1 - self.factor) * (1 + math.cos(math.pi * part)) / 2)
