"""Settings of one model: the table `[models.NAME]` of a settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from .addresses import UrlRules
from .fields import CpuSet, LocalPath, Switch, Text, about
from .numbers import Amount, Count, Size
from .serving import LEAST_MEMORY, PATIENCE, PROCESSES, Device
from .training import LASTING, RESTARTS

_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|KEY)", re.IGNORECASE)
_VARIABLE = re.compile(r"[^=\x00-\x20]+")


@dataclass(frozen=True)
class ModelSettings:
    """One model's own settings. None means: as for all models."""

    predict_timeout: float | None = None
    workers: int | None = None
    device: str | None = None
    cpus: tuple[int, ...] | None = None
    max_wait_ms: float | None = None
    latency_target_ms: float | None = None
    memory_limit: int | None = None
    python: str | None = None
    urls: str | None = None
    torch_files: bool = False
    weights_folder: Path | None = None
    keep_last: int | None = None
    keep_best_by: str | None = None
    keep_runs: int | None = None
    max_seconds: float | None = None
    restart_on_failure: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def secrets_in(values: Mapping[str, Any]) -> list[str]:
    """Names of variables in the models' tables of a file that hold a secret, as they are called."""
    tables = values.get("models")
    own = list(tables.values()) if isinstance(tables, Mapping) else []
    envs = [table.get("env") for table in own if isinstance(table, Mapping)]
    names = [name for env in envs if isinstance(env, Mapping) for name in env]
    return [name for name in names if _SECRET.search(name)]


class Variables(fields.Dict):
    """Environment variables and their values, both texts, as a process can be given them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        variables = super()._deserialize(value, *args, **kwargs)
        for name, text in variables.items():
            if _VARIABLE.fullmatch(name) is None:
                raise ValidationError(
                    f"{name!r} cannot be a variable: a name has no spaces and no '='."
                )
            if "\0" in text:
                raise ValidationError(f"The value of {name} holds a NUL, which no variable may.")
        return variables


class MetricName(Text):
    """A metric by which versions are compared; `-loss`: the smallest is the best."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if text == "-":
            raise ValidationError("Name the metric behind the minus: -loss.")
        return text


class ModelSettingsSchema(Schema):
    """The same as a file gives them."""

    predict_timeout = Amount(*PATIENCE)
    workers = Count(*PROCESSES)
    device = Device()
    cpus = CpuSet(metadata=about("CPUs that the model's workers use, such as 0-3,6"))
    max_wait_ms = Amount(
        0,
        60_000,
        "milliseconds",
        metadata=about("milliseconds that an idle worker waits for a fuller batch (default: 0)"),
    )
    latency_target_ms = Amount(
        0.1,
        3_600_000,
        "milliseconds",
        metadata=about("milliseconds that a batch may take: it gets fewer calls then"),
    )
    memory_limit = Size(
        LEAST_MEMORY,
        zero="no limit",
        metadata=about("bytes of memory that one worker or training of the model may take"),
    )
    python = Text(
        metadata=about("interpreter of the model's own environment, such as /venv/bin/python")
    )
    urls = UrlRules(metadata=about("where clients' URLs may lead: public, none, any, hosts"))
    torch_files = Switch(metadata=about("read weights in .pt files (weights only)"))
    weights_folder = LocalPath(
        metadata=about("folder where the model's train() leaves its weights")
    )
    keep_last = Count(
        1,
        metadata=about("weights versions that are kept, beside those with an alias and the best"),
    )
    keep_best_by = MetricName(
        metadata=about("metric whose best version is kept; `-loss`: the smallest is the best"),
    )
    keep_runs = Count(1, metadata=about("ended runs that are kept, as keep_runs for all models"))
    max_seconds = Amount(*LASTING, metadata=about("seconds that a training may take at most"))
    restart_on_failure = Count(
        *RESTARTS, metadata=about("how often a training is begun again after a failure")
    )
    env = Variables()

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ModelSettings:
        return ModelSettings(**data)
