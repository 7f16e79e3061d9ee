"""A model's arguments as parameters of Swagger 2.0: where they are sent and as what.

Runs in the front. Clients of DEEPaaS build forms from them (the platform's "try me" page reads
`name`, `type`, `enum`, `default`, `minimum`, `maximum` and `description`), and send everything but
files in the query. https://swagger.io/specification/v2/#parameter-object
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from .description import FieldDescription
from .fitting import add_default
from .jsonschema import form_schema, is_file, object_schema
from .model_operations import FORM, MULTIPART, ServedModel, Which, server_parameters
from .routes import JSON
from .swagger2_schema import swagger_schema

_PLACES = {"any": "query", "query": "query", "form": "formData", "headers": "header"}
_ACCEPT = "accept"
_ANY = "*/*"
_NOT_OF_PARAMETERS = ("title", "example", "properties", "additionalProperties", "required")


@dataclass
class Arguments:
    """What one operation takes: `consumes` is empty where nothing goes into a body."""

    parameters: list[dict[str, Any]] = field(default_factory=list)
    consumes: list[str] = field(default_factory=list)
    body: dict[str, Any] | None = None
    """The schema of the JSON body, if there is one (then nothing is a field of a form)."""
    notes: list[str] = field(default_factory=list)


def call_arguments(model: ServedModel, which: Which) -> Arguments:
    """The arguments in the order of their declaration, `accept` last.

    The "try me" page leaves `accept` out of its form and then counts places: anything behind it
    would get its neighbour's value.
    """
    described = model.arguments(which) or []
    if model.description is not None and model.description.contract == "deepaas":
        described = [_as_text(item) if item.kind == "any" else item for item in described]
    in_json = [item for item in described if item.place == "json" and not is_file(item)]
    others = [item for item in described if item not in in_json]
    found = Arguments([_parameter(item) for item in others if item.name != _ACCEPT])
    found.parameters += _of_server(model, which)
    found.parameters += [_parameter(item) for item in others if item.name == _ACCEPT]
    in_form = [item for item in found.parameters if item["in"] == "formData"]
    if any(item["type"] == "file" for item in in_form):
        found.consumes = [MULTIPART]
    elif in_form:
        found.consumes = [FORM, MULTIPART]
    if in_json and in_form:  # 2.0 knows one or the other
        names = ", ".join(f"`{item.name}`" for item in in_json)
        found.notes.append(f"Only in a JSON body, which cannot be shown beside a form: {names}.")
    elif in_json:
        found.consumes = [JSON]
        found.body = swagger_schema(object_schema(in_json))
    if any(item.place == "any" and not is_file(item) for item in others):
        found.notes.append(
            "What is shown in the query can also be sent as fields of a form or in a JSON object."
        )
    return found


def _of_server(model: ServedModel, which: Which) -> list[dict[str, Any]]:
    """Of the server's own parameters those in the query: a page that sends all it finds there
    would have its headers refused as unknown arguments.
    """
    return [
        {**{key: told for key, told in item.items() if key != "schema"}, **item["schema"]}
        for item in server_parameters(model, which)
        if item["in"] == "query"
    ]


def _parameter(item: FieldDescription) -> dict[str, Any]:
    where = "formData" if is_file(item) else _PLACES[item.place]
    parameter: dict[str, Any] = {"name": item.name, "in": where, "required": item.required}
    shown = _file(item) if is_file(item) else _value(item, where)
    if item.nullable:
        shown["x-nullable"] = True
    return {**parameter, **shown}


def _file(item: FieldDescription) -> dict[str, Any]:
    told = form_schema(item).get("description", "")
    if item.kind == "list":  # 2.0 has no lists of files
        told = f"{told} The field may be repeated.".strip()
    return {"type": "file", **({"description": told} if told else {})}


def _value(item: FieldDescription, where: str) -> dict[str, Any]:
    schema = swagger_schema(form_schema(item))
    shown = {key: value for key, value in schema.items() if key not in _NOT_OF_PARAMETERS}
    shown.setdefault("type", "string")
    if "example" in schema:
        shown["x-example"] = schema["example"]
    if "enum" in shown:
        _write_choices(item, shown)
    if shown["type"] == "array":
        _write_list(shown, where)
    return shown


def _as_text(item: FieldDescription) -> FieldDescription:
    """An argument of any type as a DEEPaaS module takes it: JSON text, or text."""
    told = f"{item.description} As JSON text, or text.".strip()
    item = replace(item, kind="string", description=told)
    return replace(item, default=_text(item.default)) if item.default is not None else item


def _write_choices(item: FieldDescription, shown: dict[str, Any]) -> None:
    """Choices of one type; `*/*` is none, it stands for the first."""
    if item.name == _ACCEPT:
        shown["enum"] = [choice for choice in shown["enum"] if choice != _ANY]
        if shown.get("default") == _ANY:
            del shown["default"]
    if shown["type"] == "string":
        shown["enum"] = list(dict.fromkeys(_text(choice) for choice in shown["enum"]))
    if not shown["enum"]:
        del shown["enum"]


def _write_list(shown: dict[str, Any], where: str) -> None:
    items = {
        key: value
        for key, value in shown["items"].items()
        if key not in (*_NOT_OF_PARAMETERS, "description") and not key.startswith("x-")
    }
    items.setdefault("type", "string")
    if items["type"] == "string" and "enum" in items:
        items["enum"] = list(dict.fromkeys(_text(choice) for choice in items["enum"]))
    shown["items"] = items
    shown["collectionFormat"] = "csv" if where == "header" else "multi"
    if "default" in shown:
        add_default(shown, shown.pop("default"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
