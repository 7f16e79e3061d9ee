"""Datasets as the server tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .reading import identity, known, mapping, moment, reads, sequence


@dataclass(frozen=True)
class Transfer:
    """Bytes done and in all."""

    done: int = 0
    total: int = 0

    @classmethod
    @reads("transfer")
    def from_data(cls, data: Any) -> Transfer | None:
        return cls(**known(cls, data)) if isinstance(data, dict) else None


@dataclass(frozen=True)
class Dataset:
    """One version of a dataset.

    `reference` (`name@number`) is what trainings may name it by; `digest` is equal for equal
    content, whatever it was packed in. `state` is `ready`, `publishing` or `failed` (`reason`).
    `files` counts them, `size` is in bytes. `problems` counts the `errors` and `warnings` of the
    report, None if no reader has looked. `created` is False if an `add_dataset` found that the
    content was there already. `data` is the server's whole answer.
    """

    id: str
    name: str
    number: int = 0
    reference: str = ""
    digest: str = ""
    state: str = ""
    reason: str | None = None
    created_at: datetime | None = None
    model: str | None = None
    files: int | None = None
    size: int | None = None
    statistics: Mapping[str, Any] | None = None
    problems: Mapping[str, int] | None = None
    source: Mapping[str, Any] | None = None
    local: bool = True
    stored: bool = False
    progress: Transfer | None = None
    created: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @reads("dataset")
    def from_data(cls, data: Any, created: bool = False) -> Dataset:
        values = known(cls, mapping(data, "dataset"))
        values["id"] = identity(values, "id", "dataset")
        values["name"] = identity(values, "name", "dataset")
        values["created_at"] = moment(values.get("created_at"))
        values["progress"] = Transfer.from_data(values.get("progress"))
        return cls(**{**values, "created": created, "data": data})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a dataset. `level` is `error`, `warning` or `note`; `line`
    counts from 1."""

    message: str
    level: str = "error"
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class DatasetReport:
    """What the reader of `model` found; `left_out` counts problems beyond those listed."""

    dataset: str
    model: str | None = None
    errors: int = 0
    warnings: int = 0
    problems: tuple[Problem, ...] = ()
    left_out: int = 0

    @classmethod
    @reads("report of a dataset")
    def from_data(cls, data: Any) -> DatasetReport:
        values = known(cls, mapping(data, "report of a dataset"))
        values["dataset"] = identity(values, "dataset", "report of a dataset")
        values["problems"] = tuple(
            Problem(**{"message": "", **known(Problem, mapping(item, "problem of a dataset"))})
            for item in sequence(values.get("problems") or [], "problems")
        )
        return cls(**values)


@dataclass(frozen=True)
class Upload:
    """An upload in parts. `parts` are the numbers (from 1) of those that the server has.

    `state` is `receiving`, `ingesting` (`progress` tells how far), `done` (`dataset` is its id) or
    `failed` (`error` says why).
    """

    id: str
    size: int = 0
    part_size: int = 0
    part_count: int = 0
    parts: tuple[int, ...] = ()
    state: str = "receiving"
    progress: Transfer | None = None
    dataset: str | None = None
    created: bool = True
    error: str | None = None

    @classmethod
    @reads("upload")
    def from_data(cls, data: Any) -> Upload:
        values = known(cls, mapping(data, "upload"))
        values["id"] = identity(values, "id", "upload")
        values["parts"] = tuple(values.get("parts") or ())
        values["progress"] = Transfer.from_data(values.get("progress"))
        return cls(**values)
