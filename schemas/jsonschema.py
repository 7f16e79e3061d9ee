"""From neutral field descriptions to JSON Schema 2020-12, as OpenAPI 3.1 uses it.

Runs in the front. A form and a query carry texts only, so a field may look different there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from .arrays import DTYPES
from .description import FieldDescription
from .fitting import add_default

JsonSchema = dict[str, Any]

_LARGEST_SPELT_OUT = 64
"""Numbers in an array up to which its axes have a least length: viewers make samples that long."""

_INTEGERS = {
    "int8": (-(2**7), 2**7 - 1), "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1), "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
}  # fmt: skip


def field_schema(field: FieldDescription) -> JsonSchema:
    """The JSON Schema of one field's value in a JSON body or answer."""
    schema = _of_kind(field)
    if field.choices is not None:
        schema["enum"] = list(field.choices)
    if field.secret:
        schema["format"] = "password"
    if field.nullable:
        _allow_null(schema)
    _add_words(schema, field)
    if _shows_default(field):
        add_default(schema, field.default)
    if field.example is not None and not field.secret:
        schema["examples"] = [field.example]
    return schema


def object_schema(fields: Iterable[FieldDescription], closed: bool = False) -> JsonSchema:
    """An object with these members; `closed`: and no others."""
    listed = list(fields)
    return _object({field.name: field_schema(field) for field in listed}, listed, closed)


def form_object_schema(fields: Iterable[FieldDescription], closed: bool = False) -> JsonSchema:
    """The same as the fields of a form."""
    listed = list(fields)
    return _object({field.name: form_schema(field) for field in listed}, listed, closed)


def form_schema(field: FieldDescription) -> JsonSchema:
    """The JSON Schema of one field's value in a form or a query: text, or a list of texts.

    What has structure is sent as JSON text there; null cannot be sent.
    """
    if not _is_plain(field):
        return _json_text(field)
    present = FieldDescription(**{**vars(field), "nullable": False})
    if present.choices is not None:
        present.choices = [choice for choice in present.choices if choice is not None]
    if present.kind == "any":
        present.kind = "string"
    return field_schema(present)


def is_file(field: FieldDescription) -> bool:
    """True for a file and for a list of files."""
    return field.kind == "file" or (
        field.kind == "list" and field.items is not None and field.items.kind == "file"
    )


def sample(field: FieldDescription) -> Any:
    """A value that the field probably takes: its default, its example, a choice, or one made up."""
    for value in (field.default, field.example, *(field.choices or ())):
        if value is not None and not field.secret:
            return value
    if field.kind == "object":
        return {part.name: sample(part) for part in field.fields or () if part.required}
    if field.kind == "list":
        if field.fields is not None:
            return [sample(part) for part in field.fields]
        return [] if field.items is None else [sample(field.items)] * (field.min_length or 1)
    if field.kind == "tensor":
        return _sample_tensor(field)
    if field.kind in ("integer", "number", "duration"):
        return _sample_number(field)
    return _SAMPLES.get(field.kind, "a" * max(field.min_length or 1, 1))


_SAMPLES = {
    "boolean": True,
    "dict": {},
    "datetime": "2026-01-31T12:00:00",
    "date": "2026-01-31",
    "time": "12:00:00",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "url": "https://example.org/",
    "email": "name@example.org",
    "ip": "192.0.2.1",
}


def _sample_number(field: FieldDescription) -> float:
    low, high = field.minimum, field.maximum
    if low is None:
        return 1 if high is None or high > 1 else high - 1
    if high is None:
        return low + 1 if field.exclusive_minimum else low
    if field.kind == "integer":
        return low + 1 if field.exclusive_minimum else low
    return (low + high) / 2


def _sample_tensor(field: FieldDescription) -> Any:
    """The same number everywhere; a large array is cut to one number, which shows the nesting."""
    shape = [1 if axis < 0 else axis for axis in ([1] if field.shape is None else field.shape)]
    if math.prod(shape) > _LARGEST_SPELT_OUT:
        shape = [1] * len(shape)
    value: Any = _sample_number(field) if field.dtype != "bool" else False
    for axis in reversed(shape):
        value = [value] * axis
    return value


def _object(
    properties: dict[str, JsonSchema], fields: Sequence[FieldDescription], closed: bool
) -> JsonSchema:
    schema: JsonSchema = {"type": "object", "properties": properties}
    required = [field.name for field in fields if field.required]
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _is_plain(field: FieldDescription) -> bool:
    """True if a form can carry the value without brackets."""
    if field.kind == "list":
        return field.fields is None and field.items is not None and _is_scalar(field.items)
    return _is_scalar(field)


def _is_scalar(field: FieldDescription) -> bool:
    return field.kind not in ("list", "dict", "object", "tensor")


def _json_text(field: FieldDescription) -> JsonSchema:
    schema: JsonSchema = {"type": "string"}
    _add_words(schema, field, "As JSON text.")
    if _shows_default(field) and field.default is not None:
        schema["default"] = json.dumps(field.default)
    if field.example is not None and not field.secret:
        schema["examples"] = [json.dumps(field.example)]
    return schema


# -- kinds ------------------------------------------------------------------------------------


def _of_kind(field: FieldDescription) -> JsonSchema:
    structured = {"list": _list, "dict": _dict, "object": _members, "tensor": _tensor}
    if field.kind in structured:
        return structured[field.kind](field)
    if field.kind in ("integer", "number", "duration"):
        return {"type": "integer" if field.kind == "integer" else "number", **_bounds(field)}
    if field.kind == "boolean":
        return {"type": "boolean"}
    if field.kind == "any":
        return {}
    if field.kind == "ip" and field.format is None:
        return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
    if field.kind == "datetime" and field.format in ("timestamp", "timestamp_ms"):
        return {"type": "number"}
    return _text(field)


def _text(field: FieldDescription) -> JsonSchema:
    schema: JsonSchema = {"type": "string"}
    standard = {
        "datetime": "date-time", "date": "date", "time": "time-local", "uuid": "uuid",
        "url": "uri", "email": "email", "file": "binary",
    }.get(field.kind)  # fmt: skip
    if field.format is None or field.kind == "file":
        if standard:
            schema["format"] = standard
    elif field.kind not in ("datetime", "date", "time") or field.format == "date-time-local":
        schema["format"] = field.format
    if field.kind in ("string", "url", "email"):
        schema.update(_lengths(field, "Length"))
        if field.pattern is not None:
            schema["pattern"] = field.pattern
    return schema


def _list(field: FieldDescription) -> JsonSchema:
    schema: JsonSchema = {"type": "array", **_lengths(field, "Items")}
    if field.fields is not None:
        schema["prefixItems"] = [field_schema(part) for part in field.fields]
    else:
        schema["items"] = {} if field.items is None else field_schema(field.items)
    return schema


def _dict(field: FieldDescription) -> JsonSchema:
    schema: JsonSchema = {"type": "object", **_lengths(field, "Properties")}
    schema["additionalProperties"] = True if field.items is None else field_schema(field.items)
    return schema


def _members(field: FieldDescription) -> JsonSchema:
    return {"type": "object"} if field.fields is None else object_schema(field.fields, field.closed)


def _tensor(field: FieldDescription) -> JsonSchema:
    known = field.shape is not None and -1 not in field.shape
    forms = [_nested(field), _packed(field)]
    if known:
        forms.append({"type": "string", "contentEncoding": "base64", "title": "bare base64"})
    return {"oneOf": forms}


def _nested(field: FieldDescription) -> JsonSchema:
    dtype = field.dtype or "float32"
    number: JsonSchema = {"type": "number", **_bounds(field)}
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        number = {"type": "integer", "minimum": low, "maximum": high, **_bounds(field)}
    elif dtype == "bool":
        number = {"type": "boolean"}
    if field.shape is None:
        return {"type": [number["type"], "array"], "title": "nested lists"}
    size = math.prod(max(axis, 1) for axis in field.shape)
    schema = number
    for axis in reversed(field.shape):
        schema = {"type": "array", "items": schema}
        if axis >= 0:
            schema["maxItems"] = axis
            if size <= _LARGEST_SPELT_OUT:
                schema["minItems"] = axis
    if field.shape:
        schema.update(_lengths(field, "Items"))
    return {**schema, "title": "nested lists"}


def _packed(field: FieldDescription) -> JsonSchema:
    shape: JsonSchema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    if field.shape is not None:
        shape["minItems"] = shape["maxItems"] = len(field.shape)
    return {
        "type": "object",
        "title": "base64",
        "properties": {
            "shape": shape,
            "dtype": {"type": "string", "enum": list(DTYPES), "default": field.dtype},
            "data": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "The numbers in C order, little endian.",
            },
        },
        "required": ["data"]
        if field.shape is not None and -1 not in field.shape
        else ["shape", "data"],
        "additionalProperties": False,
    }


# -- members of every kind --------------------------------------------------------------------


def _bounds(field: FieldDescription) -> JsonSchema:
    schema: JsonSchema = {}
    if field.minimum is not None:
        schema["exclusiveMinimum" if field.exclusive_minimum else "minimum"] = field.minimum
    if field.maximum is not None:
        schema["exclusiveMaximum" if field.exclusive_maximum else "maximum"] = field.maximum
    return schema


def _lengths(field: FieldDescription, of: str) -> JsonSchema:
    schema: JsonSchema = {}
    if field.min_length is not None:
        schema[f"min{of}"] = field.min_length
    if field.max_length is not None:
        schema[f"max{of}"] = field.max_length
    return schema


def _allow_null(schema: JsonSchema) -> None:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif "type" not in schema and "oneOf" in schema:
        schema["oneOf"] = [*schema["oneOf"], {"type": "null"}]
    if "enum" in schema and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]


def _shows_default(field: FieldDescription) -> bool:
    """A default of None is told only where null is a value; else it means "absent"."""
    return field.has_default and not field.secret and (field.default is not None or field.nullable)


def _add_words(schema: JsonSchema, field: FieldDescription, more: str = "") -> None:
    told = [field.description, more, *_hints(field)]
    text = " ".join(part for part in told if part)
    if text:
        schema["description"] = text


def _hints(field: FieldDescription) -> Iterable[str]:
    """What JSON Schema has no word for."""
    if field.unit:
        yield f"Unit: {field.unit}."
    if field.kind in ("datetime", "date", "time") and field.format not in (None, "date-time-local"):
        yield f"Format: {field.format}."
    if field.format in ("comma-separated", "delimited"):
        yield f"Several values, {field.format}."
    if field.kind == "tensor":
        axes = ", ".join("any" if axis < 0 else str(axis) for axis in field.shape or ())
        yield f"{field.dtype}, " + ("of any shape." if field.shape is None else f"shape ({axes}).")
    file = field.items if is_file(field) and field.items is not None else field
    if file.content_types:
        yield f"Content types: {', '.join(file.content_types)}."
    if file.suffixes:
        yield f"Names end in: {', '.join(file.suffixes)}."
    if file.max_bytes is not None:
        yield f"At most {file.max_bytes} bytes."
