"""Runs (trainings) as the server tells of them: record, progress, metrics, checkpoints, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .reading import identity, known, mapping, moment, reads, sequence

RUNNING = "running"
"""The status of a run that has not ended; the other three are `done`, `error` and `cancelled`."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` of `total` in the model's own unit, and the last optimizer step."""

    done: float | None = None
    total: float | None = None
    text: str = ""
    step: int | None = None

    @classmethod
    @reads("progress")
    def from_data(cls, data: Any) -> Progress:
        values = known(cls, data) if isinstance(data, dict) else {}
        values["text"] = values.get("text") or ""
        return cls(**values)


@dataclass(frozen=True)
class Attempt:
    """One time that a training was begun; `reason` is why it ended, None where it was paused."""

    number: int
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    message: str | None = None

    @classmethod
    @reads("attempt")
    def from_data(cls, data: Any) -> Attempt:
        values = known(cls, mapping(data, "attempt"))
        for name in ("started_at", "ended_at"):
            values[name] = moment(values.get(name))
        return cls(**values)


@dataclass(frozen=True)
class Run:
    """One training's record at one moment.

    `id` is 32 hex digits. `status` is `running`, `done`, `error` or `cancelled`; `phase` is finer
    (`queued`, `starting`, `training`, ...); `reason` and `message` say why it ended. `position` is
    its place in the queue. `dataset` is the stored one that it is trained on, `resumed_from` the
    ended run that it goes on with, `repeats` the version whose training it repeats. `result` is
    `{output, finish_date, duration}` when done, `weights` the version that it made. `attempts` are
    the times that it was begun; after failures `restart_on_failure` more at most. `data` is the
    server's whole answer.
    """

    model: str
    id: str
    status: str
    phase: str | None
    reason: str | None
    message: str | None
    args: Mapping[str, Any]
    progress: Progress
    position: int | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    result: Mapping[str, Any] | None
    weights: str | None
    dataset: str | None
    resumed_from: str | None
    repeats: str | None
    max_seconds: float | None
    restart_on_failure: int
    attempts: tuple[Attempt, ...]
    links: Mapping[str, str]
    data: Mapping[str, Any]

    @classmethod
    @reads("record of a run")
    def from_data(cls, model: str, data: Any) -> Run:
        data = mapping(data, "record of a run")
        return cls(
            model=model,
            id=identity(data, "uuid", "record of a run"),
            status=identity(data, "status", "record of a run"),
            phase=data.get("phase"),
            reason=data.get("reason"),
            message=data.get("message"),
            args=data.get("args") or {},
            progress=Progress.from_data(data.get("progress")),
            position=data.get("position"),
            created_at=moment(data.get("created_at")),
            started_at=moment(data.get("started_at")),
            ended_at=moment(data.get("ended_at")),
            result=data.get("result"),
            weights=data.get("weights"),
            dataset=data.get("dataset"),
            resumed_from=data.get("resumed_from"),
            repeats=data.get("repeats"),
            max_seconds=data.get("max_seconds"),
            restart_on_failure=int(data.get("restart_on_failure") or 0),
            attempts=tuple(Attempt.from_data(item) for item in data.get("attempts") or ()),
            links=data.get("links") or {},
            data=data,
        )

    @property
    def ended(self) -> bool:
        return self.status != RUNNING

    @property
    def succeeded(self) -> bool:
        return self.status == "done"


@dataclass(frozen=True)
class Point:
    """One reported number. `time` is in Unix seconds; `value` is None for NaN and infinities."""

    step: int
    time: float
    value: float | None


@dataclass(frozen=True)
class Metrics:
    """Series by name, each in the order reported. `last_step` is what to ask for next (`since`)."""

    series: Mapping[str, tuple[Point, ...]]
    last_step: int | None

    @classmethod
    @reads("metrics")
    def from_data(cls, data: Any) -> Metrics:
        data = mapping(data, "metrics")
        series = mapping(data.get("series"), "series of metrics")
        points = {name: tuple(Point(*item[:3]) for item in items) for name, items in series.items()}
        return cls(series=points, last_step=data.get("last_step"))

    def last(self) -> dict[str, float | None]:
        """The newest value of each series."""
        return {name: points[-1].value for name, points in self.series.items() if points}


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run. `size` is in bytes, `metric` what `best` is chosen by."""

    step: int
    metric: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    created_at: datetime | None = None
    size: int | None = None

    @classmethod
    @reads("checkpoint")
    def from_data(cls, data: Any) -> Checkpoint:
        values = known(cls, mapping(data, "checkpoint"))
        values["created_at"] = moment(values.get("created_at"))
        values["metrics"] = values.get("metrics") or {}
        return cls(**values)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints that a run keeps; `last` and `best` are steps, None before there are any."""

    last: int | None
    best: int | None
    items: tuple[Checkpoint, ...]

    @classmethod
    @reads("list of checkpoints")
    def from_data(cls, data: Any) -> Checkpoints:
        data = mapping(data, "list of checkpoints")
        items = sequence(data.get("items") or [], "checkpoints")
        return cls(data.get("last"), data.get("best"), tuple(map(Checkpoint.from_data, items)))


@dataclass(frozen=True)
class Event:
    """One event of a run. `type` is `record`, `metrics` or `log`; `data` its JSON value.

    `id` is what to hand to `events(last_event_id=...)` to go on behind this event.
    """

    type: str
    data: Any
    id: str | None = None
