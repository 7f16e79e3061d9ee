"""Weights versions with their names, links and exports; and what a prediction with them gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .datasets import Transfer
from .errors import UnexpectedAnswer
from .reading import identity, known, mapping, moment, reads, sequence


@dataclass(frozen=True)
class WeightsFile:
    """One file of a version. `path` is relative, `size` in bytes, `sha256` hex."""

    path: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Weights:
    """One weights version of a model. `size` is in bytes; `run` is the training that made it.

    `state` is `publishing` until the shared store has it, `ready`, or `failed` (`reason`); it can
    be predicted with in each of them. `local`: its files are on that server; `stored`: the
    shared store has it (None: an older server does not tell). `transfer` tells how far it is on its
    way to or from the store. `tags` and `notes` are what people say of it, `parent` is the version
    that it was fine-tuned from, `dataset` the stored one it was trained with. `data` is the
    server's whole answer.
    """

    id: str
    model: str
    run: str | None = None
    origin: str | None = None
    created_at: datetime | None = None
    state: str = ""
    reason: str | None = None
    local: bool = True
    stored: bool | None = None
    transfer: Transfer | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: tuple[WeightsFile, ...] = ()
    size: int | None = None
    step: int | None = None
    checkpoint: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    notes: str | None = None
    parent: str | None = None
    dataset: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @reads("weights version")
    def from_data(cls, model: str, data: Any) -> Weights:
        values = known(cls, mapping(data, "weights version"))
        values["model"] = model
        values["id"] = identity(values, "id", "weights version")
        values["created_at"] = moment(values.get("created_at"))
        values["transfer"] = Transfer.from_data(values.get("transfer"))
        for name in ("metrics", "links"):
            values[name] = values.get(name) or {}
        values["files"] = _files(values.get("files"))
        for name in ("aliases", "tags"):
            values[name] = tuple(values.get(name) or ())
        return cls(**{**values, "data": data})


def _files(data: Any) -> tuple[WeightsFile, ...]:
    return tuple(
        WeightsFile(**{"path": "", **known(WeightsFile, mapping(item, "file of a version"))})
        for item in data or ()
    )


@dataclass(frozen=True)
class WeightsPage:
    """Some versions of a model, newest first; `cursor` is what to ask for the next ones with."""

    items: tuple[Weights, ...]
    cursor: str | None


@dataclass(frozen=True)
class Alias:
    """A name of a version. `previous` is what a rollback would move it to; `stored`: other servers
    that share the store can know of it.

    `weights` are the parts of the calls by version, the first of which is `version`; `shadow` gets
    copies. `problem` says why calls are not divided so at this moment.
    """

    name: str
    version: str
    moved_at: datetime | None = None
    previous: str | None = None
    stored: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None
    shadow_share: float | None = None
    problem: str | None = None

    @classmethod
    @reads("alias")
    def from_data(cls, data: Any) -> Alias:
        values = {"version": "", **known(cls, mapping(data, "alias"))}
        values["name"] = identity(values, "name", "alias")
        shares = [mapping(one, "share") for one in sequence(data.get("versions", ()), "versions")]
        values["weights"] = {one.get("version", ""): one.get("weight", 1.0) for one in shares}
        values["moved_at"] = moment(values.get("moved_at"))
        return cls(**values)


@dataclass(frozen=True)
class ShareLink:
    """An address that gives an archive to whoever has it. `by` is who answers there: this `server`,
    or the `store` alone."""

    url: str
    expires_at: datetime | None = None
    by: str = "server"

    @classmethod
    @reads("link")
    def from_data(cls, data: Any) -> ShareLink:
        values = known(cls, mapping(data, "link"))
        values["url"] = identity(values, "url", "link")
        values["expires_at"] = moment(values.get("expires_at"))
        return cls(**values)


@dataclass(frozen=True)
class Export:
    """A version in another format. `size` (bytes) and `sha256` are those of the file that is handed
    out. `max_difference` is the largest one to the model's own answers, over `samples` inputs."""

    format: str
    file: str = ""
    size: int = 0
    sha256: str = ""
    created_at: datetime | None = None
    files: tuple[WeightsFile, ...] = ()
    max_difference: float | None = None
    samples: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @reads("export")
    def from_data(cls, data: Any) -> Export:
        values = known(cls, mapping(data, "export"))
        values["format"] = identity(values, "format", "export")
        values["created_at"] = moment(values.get("created_at"))
        values["files"] = _files(values.get("files"))
        values["details"] = values.get("details") or {}
        return cls(**values)


@dataclass(frozen=True)
class Exports:
    """`formats` are those that can be made of a version, `items` what has been made."""

    formats: tuple[str, ...]
    items: tuple[Export, ...]

    @classmethod
    @reads("list of exports")
    def from_data(cls, data: Any) -> Exports:
        data = mapping(data, "list of exports")
        items = sequence(data.get("exports") or [], "exports")
        return cls(tuple(data.get("formats") or ()), tuple(map(Export.from_data, items)))


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from; what was not recorded is None or empty.

    `arguments` are all with their defaults, without secret ones (`secrets` are their names);
    `uploads` were sent with the request; `weights` are versions that the training read, by the
    name that it asked for. `data` is the server's whole answer, curves among it.
    """

    id: str
    run: str | None = None
    origin: str | None = None
    created_at: datetime | None = None
    step: int | None = None
    checkpoint: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    dataset: Mapping[str, Any] | None = None
    uploads: tuple[Mapping[str, Any], ...] = ()
    arguments: Mapping[str, Any] | None = None
    secrets: tuple[str, ...] = ()
    seed: int | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    resumed_from: str | None = None
    repeats: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @reads("lineage")
    def from_data(cls, data: Any) -> Lineage:
        values = known(cls, mapping(data, "lineage"))
        values["id"] = identity(values, "id", "lineage")
        values["created_at"] = moment(values.get("created_at"))
        for name in ("uploads", "secrets"):
            values[name] = tuple(values.get(name) or ())
        for name in ("metrics", "weights"):
            values[name] = values.get(name) or {}
        return cls(**{**values, "data": data})


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
