"""What the front knows of a model: plain data from its worker, whatever contract it follows.

Standard library only, Python 3.8 syntax (also read by a model's own interpreter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = (
    "string", "integer", "number", "boolean", "datetime", "date", "time", "duration", "uuid", "url",
    "email", "ip", "list", "dict", "object", "tensor", "file", "any",
)  # fmt: skip
"""Kinds of a field. `object` has `fields`; `list` and `dict` have `items` (of their values)."""

PLACES = ("any", "query", "form", "json", "headers", "files")
"""Where a value is looked for; `any` is query, form and JSON, in that order."""


@dataclass
class FieldDescription:
    """One argument of a model, or one value in its answer.

    `default` is the JSON form of the default, present only if `has_default`; `shape` (of a tensor)
    has -1 for a free axis; `dtype` is a numpy name; bounds are inclusive unless the `exclusive_*`
    flag says otherwise; lengths count characters or items. `pattern` is a regular expression that
    Python and ECMAScript read alike. A list of fixed places (a tuple) has them in `fields`, and no
    `items`. `many`: the first axis of a tensor counts items. `closed`: an object
    takes no other members. Of a file: `content_types`
    (`image/*`), `suffixes` (`.png`) and `max_bytes`.
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
    choices: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    unit: str | None = None
    shape: list[int] | None = None
    dtype: str | None = None
    many: bool = False
    closed: bool = False
    items: FieldDescription | None = None
    fields: list[FieldDescription] | None = None
    example: Any = None
    content_types: list[str] | None = None
    suffixes: list[str] | None = None
    max_bytes: int | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> FieldDescription:
        values = dict(data)
        if values.get("items") is not None:
            values["items"] = cls.from_data(values["items"])
        if values.get("fields") is not None:
            values["fields"] = [cls.from_data(item) for item in values["fields"]]
        return cls(**values)


@dataclass
class ModelDescription:
    """One model as its worker describes it.

    `metadata` is what the plugin says of itself (JSON). A list of arguments is None where the
    plugin lacks the function (then the route answers 501). `predict_response` is None without a
    response schema. `capabilities` are words from: `predict`, `predict_batch`, `train`,
    `weights_optional`, `read_dataset`, `torch` (the plugin imported torch). `export_formats` are
    the names that `export` takes beside the weights' own form.
    """

    name: str
    contract: str = "native"
    metadata: dict[str, Any] = field(default_factory=dict)
    predict_arguments: list[FieldDescription] | None = None
    train_arguments: list[FieldDescription] | None = None
    predict_response: list[FieldDescription] | None = None
    train_response: list[FieldDescription] | None = None
    content_types: list[str] = field(default_factory=lambda: ["application/json"])
    capabilities: list[str] = field(default_factory=list)
    export_formats: list[str] = field(default_factory=list)
    distribution: str | None = None
    distribution_version: str | None = None

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values; `from_data` is its inverse."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ModelDescription:
        values = dict(data)
        for key in ("predict_arguments", "train_arguments", "predict_response", "train_response"):
            if values.get(key) is not None:
                values[key] = [FieldDescription.from_data(item) for item in values[key]]
        return cls(**values)
