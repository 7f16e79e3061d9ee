"""The predict and train operations of one model, documented from its own arguments.

Runs in the front, on plain descriptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .description import FieldDescription, ModelDescription
from .jsonschema import form_object_schema, form_schema, is_file, object_schema, sample
from .routes import JSON

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
SHORTEST_TIMEOUT_S, LONGEST_TIMEOUT_S = 1.0, 86_400.0
"""What the header X-Request-Timeout may ask for."""

SHORTEST_TRAINING_S, LONGEST_TRAINING_S = 0.05, 100_000_000  # a bit more than three years
MOST_RESTARTS = 100
CHOICES_SHOWN = 100
"""Weights versions that the document lists, newest first."""

_UNDOCUMENTABLE = {"accept", "content-type", "authorization"}
"""Header parameters of these names are ignored by readers of OpenAPI."""

Which = Literal["predict", "train"]


@dataclass(frozen=True)
class ServedModel:
    """A model by its name in addresses; `weights` are its selectable versions, newest first, and
    `aliases` other names of some.

    `description` is None as long as its worker has not described it.
    """

    name: str
    description: ModelDescription | None = None
    weights: Sequence[str] = ()
    aliases: Sequence[str] = ("latest",)

    def arguments(self, which: Which) -> list[FieldDescription] | None:
        """The function's arguments; None if there is no such function, as far as is known."""
        described = self.description
        if described is None:
            return None
        return described.predict_arguments if which == "predict" else described.train_arguments

    @property
    def about(self) -> str:
        """What its author says of it, in a paragraph."""
        metadata = self.description.metadata if self.description else {}
        text = metadata.get("summary") or metadata.get("description") or ""
        return str(text).strip().split("\n\n")[0][:500]


def argument_parameters(fields: Sequence[FieldDescription]) -> list[dict[str, Any]]:
    """The arguments that are looked for in the query or the headers only."""
    parameters = []
    for field in fields:
        if field.place == "headers" and field.name.lower() in _UNDOCUMENTABLE:
            continue
        if field.place in ("query", "headers"):
            where = "query" if field.place == "query" else "header"
            parameters.append(_parameter(field.name, where, form_schema(field), field.required))
    return parameters


def server_parameters(model: ServedModel, which: Which) -> list[dict[str, Any]]:
    """What the server itself takes beside the model's arguments.

    The short name `weights` is the plugin's where it has an argument of that name; the header
    always works. Other contracts choose their weights by their own arguments.
    """
    if model.description is None:
        return []
    if which == "train":
        own = [*_like_parameters(model), *_dataset_parameters(model)]
        return [*own, *_limit_parameters(model)]
    parameters = [
        _parameter(
            "X-Request-Timeout",
            "header",
            {"type": "number", "minimum": SHORTEST_TIMEOUT_S, "maximum": LONGEST_TIMEOUT_S},
            description="Seconds after which the call is given up.",
        )
    ]
    if model.description.contract == "native":
        about = "The weights version to predict with: an id or an alias."
        schema: dict[str, Any] = {"type": "string"}
        if model.weights:
            schema["enum"] = [*model.aliases, *model.weights[:CHOICES_SHOWN]]
        names = [("X-Modelyard-Weights", "header"), ("weights", "query")]
        taken = {field.name for field in model.arguments(which) or ()}
        parameters = [
            _parameter(name, where, schema, description=about)
            for name, where in names
            if name not in taken
        ] + parameters
        told = "Calls with the same text here go to the same version where calls are divided."
        parameters.append(
            _parameter("X-Modelyard-Sticky", "header", {"type": "string"}, description=told)
        )
    return parameters


def _limit_parameters(model: ServedModel) -> list[dict[str, Any]]:
    """How long a training may take, and what follows a failure."""
    taken = {field.name for field in model.arguments("train") or ()}
    told = "Seconds that the training may take, waiting and pauses not counted. Then it is asked to"
    seconds = f"{told} stop, and ends as an error with the reason `time_limit`; `last` is kept."
    restarts = "How often it is begun again after a failure, from its last checkpoint if it can."
    number = {"type": "number", "minimum": SHORTEST_TRAINING_S, "maximum": LONGEST_TRAINING_S}
    count = {"type": "integer", "minimum": 0, "maximum": MOST_RESTARTS}
    names = [
        ("X-Modelyard-Max-Seconds", "header", number, seconds),
        ("max_seconds", "query", number, seconds),
        ("X-Modelyard-Restart-On-Failure", "header", count, restarts),
        ("restart_on_failure", "query", count, restarts),
    ]
    return [
        _parameter(name, where, schema, description=about)
        for name, where, schema, about in names
        if name not in taken
    ]


def _dataset_parameters(model: ServedModel) -> list[dict[str, Any]]:
    """A model with an argument `dataset` names stored datasets by that, too."""
    about = "The stored dataset to train with: its id, its name (the newest) or `name@number`."
    taken = {field.name for field in model.arguments("train") or ()}
    names = [("X-Modelyard-Dataset", "header"), ("dataset", "query")]
    return [
        _parameter(name, where, {"type": "string"}, description=about)
        for name, where in names
        if name not in taken
    ]


def _like_parameters(model: ServedModel) -> list[dict[str, Any]]:
    """As `weights` of a prediction: the short name gives way to an argument of the model."""
    about = (
        "A weights version (an id or an alias) whose training is made again: its arguments where "
        "the request gives none, its seed, its dataset. The run tells whether the result is equal."
    )
    taken = {field.name for field in model.arguments("train") or ()}
    names = [("X-Modelyard-Like", "header"), ("like", "query")]
    return [
        _parameter(name, where, {"type": "string"}, description=about)
        for name, where in names
        if name not in taken
    ]


def request_body(model: ServedModel, fields: Sequence[FieldDescription]) -> dict[str, Any] | None:
    """Every content type in which the arguments can come; None if nothing goes into a body."""
    body = [field for field in fields if field.place not in ("query", "headers")]
    if not body:
        return None
    closed = model.description is not None and model.description.contract == "native"
    files = [field for field in body if is_file(field)]
    in_forms = [field for field in body if field.place != "json"]
    texts = [field for field in in_forms if not is_file(field)]
    in_json = [
        field for field in body if field.place not in ("form", "files") and not is_file(field)
    ]
    kinds = [(MULTIPART, in_forms), (FORM, texts), (JSON, in_json)]
    if not files:  # a program's way first; with files only multipart has it all
        kinds = [kinds[2], kinds[0], kinds[1]]
    content: dict[str, Any] = {}
    for content_type, members in kinds:
        if members and _all_required_in(members, body):
            make = _json_media if content_type == JSON else _form_media
            content[content_type] = make(members, closed)
    if not content:  # no single way carries all that is required; the query may carry the rest
        content[MULTIPART] = _form_media(in_forms, closed)
    for content_type in _raw_types(files, body):
        content[content_type] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": any(field.required for field in body), "content": content}


def prediction_content(model: ServedModel) -> dict[str, Any]:
    """The content of a good prediction, by content type."""
    described = model.description or ModelDescription(name=model.name)
    if described.predict_response is None:
        members = {"status": {"type": "string", "const": "OK"}, "predictions": {}}
        json_body: dict[str, Any] = {
            "type": "object",
            "properties": members,
            "required": list(members),
        }
    else:
        json_body = object_schema(described.predict_response)
    return {
        content_type: {
            "schema": json_body if content_type == JSON else {"type": "string", "format": "binary"}
        }
        for content_type in described.content_types or [JSON]
        if content_type != "*/*"
    } or {JSON: {"schema": json_body}}


def _json_media(fields: Sequence[FieldDescription], closed: bool) -> dict[str, Any]:
    """With an example that can be sent as it is: what is required, and the defaults."""
    example = {
        field.name: sample(field)
        for field in fields
        if field.required or (field.default is not None and not field.secret)
    }
    return {"schema": object_schema(fields, closed), "example": example}


def _form_media(fields: Sequence[FieldDescription], closed: bool) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": form_object_schema(fields, closed)}
    properties = media["schema"]["properties"]
    # The default of the specification, but Swagger UI joins the items with commas unless told.
    repeated = [
        field.name
        for field in fields
        if properties[field.name].get("type") == "array" and not is_file(field)
    ]
    if repeated:
        media["encoding"] = {name: {"style": "form", "explode": True} for name in repeated}
    return media


def _parameter(
    name: str, where: str, schema: dict[str, Any], required: bool = False, description: str = ""
) -> dict[str, Any]:
    schema = dict(schema)
    told = description or schema.pop("description", "")
    return {
        "name": name,
        "in": where,
        "required": required,
        **({"description": told} if told else {}),
        "schema": schema,
    }


def _all_required_in(members: Sequence[FieldDescription], body: Sequence[FieldDescription]) -> bool:
    names = {field.name for field in members}
    return all(field.name in names for field in body if field.required)


def _raw_types(files: Sequence[FieldDescription], body: Sequence[FieldDescription]) -> list[str]:
    """Content types of a body that is the one file itself, with nothing around it."""
    required = [field for field in body if field.required]
    if len(files) != 1 or any(field is not files[0] for field in required):
        return []
    file = files[0].items if files[0].items is not None else files[0]
    told = file.content_types or ["application/octet-stream"]
    # Text is refused on these routes: a form sent by mistake as text would become a file.
    return [kind for kind in told if not kind.startswith(("text/", "multipart/", "*"))]
