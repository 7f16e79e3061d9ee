"""What the command line asks for, as plain data: it may cross to another interpreter.

Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

METHODS = ("get_metadata", "warm", "predict", "train")


@dataclass
class LogOptions:
    """oslo.log's options, as far as they mean something here."""

    debug: bool = False
    file: str | None = None
    folder: str | None = None
    date_format: str = "%Y-%m-%d %H:%M:%S"
    config: str | None = None


@dataclass
class Order:
    """One call. `words` are those after the method; `method` is None if there was none.

    `source` is a `PluginSource`'s data; `folder` the one that relative paths are seen from.
    """

    source: dict[str, Any]
    method: str | None
    words: list[str]
    folder: str
    output: str | None = None
    spawn: bool = True
    device: str = "auto"
    log: LogOptions = field(default_factory=LogOptions)

    def to_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Order:
        return cls(**{**data, "log": LogOptions(**data["log"])})
