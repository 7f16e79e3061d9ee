"""Which weights a model begins with: asked of whoever knows the versions. Runs in the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .messages import WeightsRef


@dataclass(frozen=True)
class Choice:
    """A version that predictions may use by default; `by_hand`: a person said so."""

    ref: WeightsRef
    by_hand: bool = False


class DefaultWeights(Protocol):
    """Knows the versions of every model."""

    async def choices(self, model: str) -> Sequence[Choice]:
        """What to begin with, the files here; then what to use if that cannot be loaded.

        Raises StorageUnavailable if there is one that is not here yet: it follows by itself.
        """
        ...

    async def taken(self, model: str, version: str) -> None:
        """Workers have loaded the version, and answer with it by default. Raises nothing."""
        ...
