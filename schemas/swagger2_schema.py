"""From JSON Schema 2020-12 to the subset that Swagger 2.0 knows.

Runs in the front. https://swagger.io/specification/v2/#schema-object
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .fitting import add_default

JsonSchema = dict[str, Any]

_KEPT = frozenset(
    {"$ref", "type", "format", "title", "description", "default", "enum", "multipleOf"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"}
    | {"pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"}
    | {"required", "readOnly", "example", "allOf", "properties", "items", "additionalProperties"}
)


def swagger_schema(schema: Any) -> JsonSchema:
    """The schema in Swagger 2.0; it allows what the given one allows, and where 2.0 has no words
    for a restriction also more. Null is told by `x-nullable`.
    """
    if not isinstance(schema, Mapping):
        return {}  # true: anything
    found = _without_alternatives(dict(schema))
    _write_nullable(found)
    _write_values(found)
    _write_bounds(found)
    _write_items(found)
    _write_parts(found)
    found = {key: value for key, value in found.items() if _is_known(key)}
    if "default" in found:
        default = found.pop("default")
        if default is not None:  # null is no value in 2.0: it says the same as no default
            add_default(found, default)
    if "$ref" in found and len(found) > 1:  # in 2.0 everything beside a reference is ignored
        found = {"allOf": [{"$ref": found.pop("$ref")}], **found}
    return found


def _is_known(key: str) -> bool:
    return key in _KEPT or key.startswith("x-")


# -- the words that 2.0 lacks -----------------------------------------------------------------


def _without_alternatives(schema: JsonSchema) -> JsonSchema:
    """2.0 has no oneOf and anyOf: a choice with null stays; of any other what all share."""
    for word in ("oneOf", "anyOf"):
        options = schema.pop(word, None)
        if options is None:
            continue
        present = [option for option in options if option != {"type": "null"}]
        if len(present) < len(options):
            schema["x-nullable"] = True
        if len(present) == 1:
            schema = {**present[0], **schema}
        else:
            types = {json.dumps(option.get("type")) for option in present}
            if len(types) == 1 and present[0].get("type") not in (None, "array"):
                schema.setdefault("type", present[0]["type"])
    return schema


def _write_nullable(schema: JsonSchema) -> None:
    types = schema.get("type")
    if isinstance(types, list):
        present = [name for name in types if name != "null"]
        if len(present) < len(types):
            schema["x-nullable"] = True
        if len(present) == 1:
            schema["type"] = present[0]
        else:
            del schema["type"]
    elif types == "null":
        schema.update({"x-nullable": True})
        del schema["type"]


def _write_values(schema: JsonSchema) -> None:
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
        if not schema["enum"]:
            del schema["enum"]
    if "examples" in schema:
        examples = schema.pop("examples")
        if examples:
            schema.setdefault("example", examples[0])
    if schema.pop("contentEncoding", None) == "base64":
        schema.setdefault("format", "byte")


def _write_bounds(schema: JsonSchema) -> None:
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        bound = schema.get(exclusive)
        if bound is None or isinstance(bound, bool):
            continue
        inclusive = schema.get(limit)
        stricter = min if limit == "maximum" else max
        schema.pop(exclusive)
        if inclusive is None or (stricter(bound, inclusive) == bound):
            schema[limit], schema[exclusive] = bound, True


def _write_items(schema: JsonSchema) -> None:
    places = schema.pop("prefixItems", None)
    if places is not None:
        same = places and all(place == places[0] for place in places)
        schema["items"] = places[0] if same else {}
    if schema.get("type") == "array":
        schema.setdefault("items", {})


def _write_parts(schema: JsonSchema) -> None:
    if "properties" in schema:
        schema["properties"] = {
            name: swagger_schema(part) for name, part in schema["properties"].items()
        }
    if "items" in schema:
        schema["items"] = swagger_schema(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = swagger_schema(schema["additionalProperties"])
    if "allOf" in schema:
        schema["allOf"] = [swagger_schema(part) for part in schema["allOf"]]
