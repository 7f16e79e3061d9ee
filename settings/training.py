"""Settings of trainings: how many, on what, how long, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import Schema, fields, validate

from .fields import CpuSet, Switch, about
from .numbers import Amount, Count
from .serving import PATIENCE, PROCESSES

LASTING = (0.05, 100_000_000)
"""Seconds that a training may take: some three years at most."""
RESTARTS = (0, 100)


@dataclass(frozen=True)
class TrainingSettings:
    """What `Settings` says of trainings. Times are in seconds."""

    max_trainings: int = 1
    keep_runs: int | None = None
    training_threads: int | None = None
    training_cpus: tuple[int, ...] | None = None
    training_nice: int = 19
    training_max_seconds: float | None = None
    training_grace: float = 30.0
    restart_on_failure: int = 0
    on_stop: str = "leave"
    warm_start: bool = True


class TrainingSettingsSchema(Schema):
    """The same as files, variables and flags give them."""

    max_trainings = Count(
        *PROCESSES, metadata=about("trainings that run at the same time; more are queued")
    )
    keep_runs = Count(
        1,
        metadata=about(
            "ended runs of each model that are kept, with log and checkpoints; older ones are "
            "purged, their weights versions stay (default: all)"
        ),
    )
    training_threads = Count(
        *PROCESSES,
        metadata=about("CPU threads of a training (default: the cores divided by max-trainings)"),
    )
    training_cpus = CpuSet(
        metadata=about("CPUs that trainings use, such as 0-3,6 (default: all of the server's)")
    )
    training_nice = Count(
        0, 19, metadata=about("niceness of trainings: 0 shares the CPU evenly with predictions")
    )
    training_max_seconds = Amount(
        *LASTING,
        metadata=about("seconds that a training may take at most (default: as long as it needs)"),
    )
    training_grace = Amount(
        *PATIENCE,
        metadata=about(
            "seconds that a training gets to save a checkpoint when its time is over or it is "
            "paused"
        ),
    )
    restart_on_failure = Count(
        *RESTARTS,
        metadata=about("how often a training is begun again after a failure, if not said with it"),
    )
    on_stop = fields.String(
        validate=validate.OneOf(["leave", "pause", "cancel"]),
        metadata=about("what becomes of running trainings when the server is stopped"),
    )
    warm_start = Switch(
        metadata=about("keep torch preloaded so that trainings start at once (about 200 MB)"),
    )
