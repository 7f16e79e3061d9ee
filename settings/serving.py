"""Settings of predictions: workers and their memory, how long calls take, how many may wait."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields

from .fields import Switch, about
from .numbers import Amount, Count, Size

PATIENCE = (0.05, 86_400)
"""Seconds that calls and processes may get."""
PROCESSES = (1, 64)
LEAST_MEMORY = 64 * 1024**2
"""A worker of a model that does nothing has some 30 MB of its own."""
_DEVICE = re.compile(r"auto|cpu|cuda(:(0|[1-9]\d{0,3}))?")


@dataclass(frozen=True)
class ServingSettings:
    """What `Settings` says of predictions. Times are in seconds, sizes in bytes."""

    workers: int = 1
    warm: bool = True
    predict_timeout: float = 60.0
    load_timeout: float = 60.0
    queue_seconds: float = 0.7
    queue_items: int = 10_000
    queue_size: int = 256 * 1024**2
    client_calls: int = 0
    memory_budget: int = 0
    memory_limit: int = 0
    answer_max_size: int = 2 * 1024**3
    device: str = "auto"
    threads: int | None = None


class Device(fields.String):
    """`auto`, `cpu`, `cuda` or `cuda:N`; whether it is there, `machine.py` looks."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).strip()
        if _DEVICE.fullmatch(text) is None:
            raise ValidationError("Not a device: give auto, cpu, cuda or cuda:N.")
        return text


class ServingSettingsSchema(Schema):
    """The same as files, variables and flags give them."""

    workers = Count(*PROCESSES, metadata=about("worker processes of each model", "-p"))
    warm = Switch(metadata=about("call a model's warm() before its first prediction"))
    predict_timeout = Amount(
        *PATIENCE,
        metadata=about("seconds until a prediction is given up and its worker replaced"),
    )
    load_timeout = Amount(
        *PATIENCE, metadata=about("seconds that a model may take to be imported and loaded")
    )
    queue_seconds = Amount(
        *PATIENCE,
        metadata=about(
            "seconds of work that may wait for a model, by what it took of late; 64 calls always"
        ),
    )
    queue_items = Count(1, metadata=about("calls that may wait for a model at most"))
    queue_size = Size(metadata=about("bytes that may wait for a model at most"))
    client_calls = Count(
        0, metadata=about("predictions of one client at the same time; 0 is no limit")
    )
    memory_budget = Size(
        1024**2,
        zero="no limit",
        metadata=about(
            "bytes of memory that the workers of all models may have; the least recently used are "
            "unloaded, and loaded again for the next call; 0 is no limit"
        ),
    )
    memory_limit = Size(
        LEAST_MEMORY,
        zero="no limit",
        metadata=about(
            "bytes of memory that one worker, or one training, may take with all that it starts; "
            "the call or run that takes more fails; 0 is no limit"
        ),
    )
    answer_max_size = Size(
        zero="no limit", metadata=about("largest answer of a model in bytes; 0 is no limit")
    )
    device = Device(
        metadata=about("device of predictions and trainings: auto, cpu, cuda or cuda:N")
    )
    threads = Count(
        *PROCESSES,
        metadata=about("CPU threads of a worker (default: the cores divided by the workers)"),
    )
