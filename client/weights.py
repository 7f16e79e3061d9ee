"""Weights versions, and what a prediction with them gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import UnexpectedAnswer
from .reading import known, mapping, moment


@dataclass(frozen=True)
class WeightsFile:
    """One file of a version. `path` is relative, `size` in bytes, `sha256` hex."""

    path: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Weights:
    """One weights version of a model. `size` is in bytes; `run` is the training that made it."""

    id: str
    model: str
    run: str | None = None
    created_at: datetime | None = None
    state: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: tuple[WeightsFile, ...] = ()
    size: int | None = None
    step: int | None = None
    aliases: tuple[str, ...] = ()

    @classmethod
    def from_data(cls, model: str, data: Any) -> Weights:
        values = known(cls, mapping(data, "weights version"))
        values["model"] = model
        values["id"] = str(values.get("id") or "")
        values["created_at"] = moment(values.get("created_at"))
        values["metrics"] = values.get("metrics") or {}
        values["files"] = tuple(
            WeightsFile(**known(WeightsFile, mapping(item, "file of a version")))
            for item in values.get("files") or ()
        )
        values["aliases"] = tuple(values.get("aliases") or ())
        return cls(**values)


@dataclass(frozen=True)
class Prediction:
    """A model's answer. `weights` is the version that gave it.

    `content` is its bytes, empty when they were saved to `path`. `filename` is the name that the
    model offers for saving (a name only, never a path).
    """

    content_type: str
    content: bytes = b""
    path: Path | None = None
    filename: str | None = None
    weights: str | None = None

    @property
    def is_json(self) -> bool:
        return self.content_type == "application/json" or self.content_type.endswith("+json")

    def json(self) -> Any:
        """The answer as Python values. Raises UnexpectedAnswer if it is no JSON."""
        content = self.path.read_bytes() if self.path is not None else self.content
        try:
            return json.loads(content)
        except ValueError as error:
            raise UnexpectedAnswer(
                f"The model answered {self.content_type}, which is no JSON."
            ) from error
