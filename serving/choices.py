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


@dataclass(frozen=True)
class Division:
    """How calls that name no version are divided: `shares` are versions with weights above 0, the
    default first. `shadow` gets copies of a part of them, from 0 to 1. `problem`: why versions
    that should be among them are not."""

    shares: tuple[tuple[WeightsRef, float], ...]
    shadow: WeightsRef | None = None
    shadow_share: float = 1.0
    problem: str | None = None

    @property
    def beside(self) -> list[WeightsRef]:
        """All but the default."""
        shadow = [] if self.shadow is None else [self.shadow]
        return [*(ref for ref, _ in self.shares[1:]), *shadow]

    @property
    def ids(self) -> set[str]:
        """The ids of all of them."""
        return {self.shares[0][0].id, *(ref.id for ref in self.beside)}


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
