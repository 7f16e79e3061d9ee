"""What serving tells of its work, to whoever counts it. Runs in the front, on its event loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import ModelyardError


@dataclass(frozen=True)
class BatchDone:
    """A batch that a worker has answered. Times are in seconds.

    `waited_s`: each call's time in the queue. `worked_s`: from the worker's beginning to its last
    answer; `forward_s` of that in the plugin's own predict. `version` is the weights' id.
    """

    version: str | None
    items: int
    waited_s: Sequence[float]
    worked_s: float
    forward_s: float


class Observer(Protocol):
    """Called often: must be cheap, and must not raise."""

    def batch_done(self, model: str, batch: BatchDone) -> None:
        """A worker has answered all of a batch."""

    def call_answered(
        self, model: str, version: str | None, error: ModelyardError | None, seconds: float
    ) -> None:
        """A worker has answered a call, with an error or without, so long after it came."""

    def refused(self, model: str, why: str) -> None:
        """A call was not taken, or let go: `full`, `deadline` or `gone`."""

    def worker_ended(self, model: str, kind: str) -> None:
        """A worker ended that should not have; `kind` is that of `exits.Exit`."""

    def shadowed(self, model: str, version: str, outcome: str) -> None:
        """A copy of a call was for a version that is tried: its answer was `equal` or `different`,
        it `failed`, or it was `dropped`."""


class Unobserved:
    """Nobody counts."""

    def batch_done(self, model: str, batch: BatchDone) -> None:
        return None

    def call_answered(
        self, model: str, version: str | None, error: ModelyardError | None, seconds: float
    ) -> None:
        return None

    def refused(self, model: str, why: str) -> None:
        return None

    def worker_ended(self, model: str, kind: str) -> None:
        return None

    def shadowed(self, model: str, version: str, outcome: str) -> None:
        return None
