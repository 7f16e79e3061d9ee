"""Models as the server lists them, and their arguments as it describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .reading import identity, known, mapping, reads


@dataclass(frozen=True)
class Argument:
    """One argument of a model, in the server's neutral words.

    `kind` is `string`, `integer`, `number`, `boolean`, `datetime`, `list`, `dict`, `object`,
    `tensor`, `file`, ...; `place` is where the server looks for it (`any` is query, form and JSON).
    Bounds are inclusive unless the `exclusive_*` flag says otherwise.
    """

    name: str
    kind: str = "any"
    place: str = "any"
    required: bool = False
    nullable: bool = False
    has_default: bool = False
    default: Any = None
    description: str = ""
    secret: bool = False
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    min_length: int | None = None
    max_length: int | None = None
    unit: str | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    items: Argument | None = None
    fields: tuple[Argument, ...] | None = None

    @property
    def is_file(self) -> bool:
        """True for a file and for a list of files."""
        return self.kind == "file" or (
            self.kind == "list" and self.items is not None and self.items.is_file
        )

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Argument:
        values = known(cls, mapping(data, "argument"))
        if values.get("items") is not None:
            values["items"] = cls.from_data(values["items"])
        if values.get("fields") is not None:
            values["fields"] = tuple(cls.from_data(item) for item in values["fields"])
        for name in ("choices", "shape"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Description:
    """What a model takes and gives. Arguments are None where the model lacks the function."""

    name: str = ""
    contract: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    predict_arguments: tuple[Argument, ...] | None = None
    train_arguments: tuple[Argument, ...] | None = None
    predict_response: tuple[Argument, ...] | None = None
    train_response: tuple[Argument, ...] | None = None
    content_types: tuple[str, ...] = ("application/json",)
    capabilities: tuple[str, ...] = ()
    distribution: str | None = None
    distribution_version: str | None = None

    @classmethod
    @reads("description of a model")
    def from_data(cls, data: Mapping[str, Any]) -> Description:
        values = known(cls, mapping(data, "description of a model"))
        for name in ("predict_arguments", "train_arguments", "predict_response", "train_response"):
            if values.get(name) is not None:
                values[name] = tuple(Argument.from_data(item) for item in values[name])
        for name in ("content_types", "capabilities"):
            if name in values:
                values[name] = tuple(values[name] or ())
        return cls(**values)


@dataclass(frozen=True)
class Model:
    """A model of the server.

    `state` is `importing`, `ready`, `restarting` or `failed`; `error` says why it cannot serve.
    `weights` is the version that predictions use by default. `description` is only there when one
    model was asked for, and its process could be asked. `data` is the server's whole answer.
    """

    name: str
    state: str
    error: str | None
    weights: str | None
    description: Description | None
    data: Mapping[str, Any]

    @classmethod
    @reads("model")
    def from_data(cls, data: Mapping[str, Any], name: str = "") -> Model:
        """`name` is the URL's name, where it is known; a listed model's `id` is that name too."""
        data = mapping(data, "model")
        # DEEPaaS has a text under `description`; the arguments stand beside it.
        described = data.get("arguments") or data.get("description")
        return cls(
            name=name or identity(data, "id" if data.get("id") else "name", "model"),
            state=str(data.get("state") or "ready"),
            error=_in_words(data.get("error")),
            weights=data.get("weights") if isinstance(data.get("weights"), str) else None,
            description=Description.from_data(described) if isinstance(described, dict) else None,
            data=data,
        )

    @property
    def summary(self) -> str:
        """One line about the model: its own summary, else its own description, else nothing."""
        metadata = self.description.metadata if self.description else self.data
        text = metadata.get("summary") or metadata.get("description") or ""
        return str(text).strip().splitlines()[0] if isinstance(text, str) and text.strip() else ""


def _in_words(error: Any) -> str | None:
    """The text of a load error: the server sends a text or `{message, type, traceback}`."""
    if not error:
        return None
    if isinstance(error, dict):
        return str(error.get("message") or error.get("detail") or error)
    return str(error)
