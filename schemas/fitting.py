"""Whether a value satisfies a schema as far as a document's reader would check it.

No one validates an author's default (`missing=""` beside choices is common in DEEPaaS modules),
but a document is invalid with a default that its own schema refuses. Runs in the front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_FORMATS = {
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "email": r"[^@]+@.+",
    "date": r"\d{4}-\d\d-\d\d",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "uri": r"[a-zA-Z][\w+.-]*:\S*",
    "ipv4": r"\d{1,3}(\.\d{1,3}){3}",
    "ipv6": r"[0-9a-fA-F:.]+",
    "byte": r"[A-Za-z0-9+/]*=*",
}


def add_default(schema: dict[str, Any], default: Any) -> None:
    """As the schema's default if it fits there, else in the words of its description."""
    if fits(default, schema):
        schema["default"] = default
    else:
        told = f"Default: {json.dumps(default)}."
        schema["description"] = f"{schema.get('description', '')} {told}".strip()


def fits(value: Any, schema: Schema) -> bool:
    """True if the value satisfies the schema, of JSON Schema or of Swagger 2.0, without `$ref`."""
    types = schema.get("type")
    if types is not None and not any(
        _is_of(value, kind) for kind in ([types] if isinstance(types, str) else types)
    ):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    options = schema.get("oneOf")
    if options is not None and not any(fits(value, option) for option in options):
        return False
    if isinstance(value, bool):
        return True
    if isinstance(value, (int, float)):
        return _within(value, schema)
    if isinstance(value, str):
        return _has_length(value, schema, "Length") and _is_text_of(value, schema)
    if isinstance(value, list):
        return _has_length(value, schema, "Items") and _has_items(value, schema)
    if isinstance(value, dict):
        return _has_length(value, schema, "Properties") and _has_members(value, schema)
    return True


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _within(value: float, schema: Schema) -> bool:
    """Exclusive bounds are numbers of their own in JSON Schema, flags in Swagger 2.0."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is True:
        low, above = None, low
    if below is True:
        high, below = None, high
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or above is False or value > above)
        and (below is None or below is False or value < below)
    )


def _is_text_of(value: str, schema: Schema) -> bool:
    form = _FORMATS.get(schema.get("format", ""))
    if form is not None and not re.fullmatch(form, value):
        return False
    try:
        return "pattern" not in schema or re.search(schema["pattern"], value) is not None
    except re.error:  # a pattern of ECMAScript's own
        return False


def _has_items(value: list[Any], schema: Schema) -> bool:
    places = schema.get("prefixItems", [])
    if not all(_fits(part, place) for part, place in zip(value, places, strict=False)):
        return False
    return all(_fits(part, schema.get("items", True)) for part in value[len(places) :])


def _has_members(value: dict[str, Any], schema: Schema) -> bool:
    parts, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", ())) and all(
        _fits(part, parts.get(name, others)) for name, part in value.items()
    )


def _fits(value: Any, schema: Schema | bool) -> bool:
    return schema if isinstance(schema, bool) else fits(value, schema)


def _has_length(value: str | list[Any] | dict[str, Any], schema: Schema, of: str) -> bool:
    shortest, longest = schema.get(f"min{of}", 0), schema.get(f"max{of}", len(value))
    return bool(shortest <= len(value) <= longest)
