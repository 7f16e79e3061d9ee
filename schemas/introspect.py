"""From an author's marshmallow schemas to neutral descriptions, and the check of them at the door.

Runs in the worker. marshmallow 3 and 4, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Tuple  # noqa: UP035 - Python 3.8

import marshmallow
from marshmallow import fields

from .constraints import add_constraints
from .description import FieldDescription
from .fields import File, Tensor
from .jsonform import NoJsonForm, json_form, plain
from .kinds import is_delimited, kind_of, kind_of_value
from .secrecy import holds_secret, without_secrets

PLACES = {
    "query": "query", "querystring": "query", "form": "form", "json": "json", "body": "json",
    "headers": "headers", "header": "headers", "files": "files",
}  # fmt: skip
_DEEPEST = 12  # levels of nesting that are described
_Above = Tuple[type, ...]  # noqa: UP006 - the schema classes around a field; evaluated, so not tuple[...]


def describe_schema(schema: marshmallow.Schema, response: bool = False) -> list[FieldDescription]:
    """Describes the fields in the order of their declaration.

    Of arguments: what a client may send (fields that are only dumped are left out). With
    `response`: what an answer holds (fields that are only loaded are left out).
    """
    return _describe_all(schema, response, ())


def describe_field(name: str, field: Any, response: bool = False) -> FieldDescription:
    """Describes one field of a schema by the name that a client uses."""
    return _describe(name, field, response, ())


def _describe_all(
    schema: marshmallow.Schema, response: bool, above: _Above
) -> list[FieldDescription]:
    chosen = schema.dump_fields if response else schema.load_fields
    return [
        _describe(field.data_key if field.data_key is not None else name, field, response, above)
        for name, field in _in_order(schema, chosen)
    ]


def _in_order(schema: marshmallow.Schema, chosen: Any) -> Iterator[tuple[str, Any]]:
    # Older releases of marshmallow 3 keep the names in a set: only `declared_fields` has an order.
    names = [name for name in schema.declared_fields if name in chosen]
    names += sorted(set(chosen) - set(names))
    for name in names:
        yield name, chosen[name]


def _describe(name: str, field: Any, response: bool, above: _Above) -> FieldDescription:
    metadata = field.metadata
    kind, format_ = kind_of(field)
    if kind in ("any", "string") and format_ is None:
        told = metadata.get("format")
        format_ = str(told) if told and told != "password" else None
    description = FieldDescription(
        name=name,
        kind=kind,
        format=format_,
        required=bool(field.required),
        nullable=bool(field.allow_none),
        description=str(metadata.get("description") or metadata.get("title") or ""),
        secret=is_secret(field),
        unit=str(metadata["unit"]) if metadata.get("unit") else None,
        place=PLACES.get(str(metadata.get("location")), "any"),
    )
    _add_parts(description, field, response, above)
    add_constraints(description, field)
    if not response:
        _add_default(description, field)
    _add_example(description, field)
    if kind == "file" or (description.items is not None and description.items.kind == "file"):
        description.place = "files"
    if description.secret:
        description.choices = description.example = description.default = None
    elif holds_secret(description):
        description.default = without_secrets(description.default, description)
        description.example = without_secrets(description.example, description)
    return description


def is_secret(field: Any) -> bool:
    """What a client sends for it is to be kept, and told, nowhere."""
    return bool(field.load_only) or field.metadata.get("format") == "password"


def _add_parts(description: FieldDescription, field: Any, response: bool, above: _Above) -> None:
    """What the kind of the field brings along: items, members, shape, unit, choices."""
    for cls, add in _PARTS:
        if isinstance(field, cls):
            add(description, field)
            return
    if isinstance(field, fields.List):
        description.items = _describe("", field.inner, response, above)
    elif isinstance(field, fields.Tuple) and not is_delimited(field):
        description.fields = [_describe("", part, response, above) for part in field.tuple_fields]
        description.min_length = description.max_length = len(description.fields)
    elif isinstance(field, fields.Mapping) and field.value_field is not None:
        description.items = _describe("", field.value_field, response, above)
    elif isinstance(field, fields.Nested):
        _add_nested(description, field, response, above)


def _add_tensor(description: FieldDescription, field: Any) -> None:
    spec = field.spec
    description.shape = None if spec.shape is None else [-1 if n is None else n for n in spec.shape]
    description.dtype = spec.dtype
    description.many = field.many
    description.minimum, description.maximum = spec.minimum, spec.maximum


def _add_file(description: FieldDescription, field: Any) -> None:
    description.content_types = list(field.content_types) or None
    description.suffixes = list(field.suffixes) or None
    description.max_bytes = field.max_bytes


def _add_duration(description: FieldDescription, field: Any) -> None:
    description.format = field.precision
    description.unit = description.unit or field.precision


def _add_constant(description: FieldDescription, field: Any) -> None:
    description.kind = kind_of_value(field.constant)
    description.choices = [_json_or_none(field, field.constant)]


def _add_members(description: FieldDescription, field: Any) -> None:
    description.choices = [_json_or_none(field, member) for member in field.enum]
    kinds = {kind_of_value(choice) for choice in description.choices}
    description.kind = kinds.pop() if len(kinds) == 1 else "any"


_PARTS: tuple[tuple[type, Any], ...] = (
    (Tensor, _add_tensor),
    (File, _add_file),
    (fields.TimeDelta, _add_duration),
    (fields.Constant, _add_constant),
    *(((fields.Enum, _add_members),) if hasattr(fields, "Enum") else ()),  # not before 3.18
)


def _add_nested(description: FieldDescription, field: Any, response: bool, above: _Above) -> None:
    schema = field.schema
    if isinstance(field, fields.Pluck):
        inner = _describe("", schema.fields[field.field_name], response, above)
        inner.required = False
    else:
        inner = FieldDescription(name="", kind="object")
        inner.closed = not response and (field.unknown or schema.unknown) == marshmallow.RAISE
        # A schema that holds itself is told down to its second appearance.
        if above.count(type(schema)) < 1 and len(above) < _DEEPEST:
            inner.fields = _describe_all(schema, response, (*above, type(schema)))
        else:  # of what is not told nobody knows where in it a secret is
            inner.secret = not response and _has_secret(schema, set())
    if field.many:
        description.kind, description.items = "list", inner
        return
    description.kind, description.format = inner.kind, inner.format
    description.secret = description.secret or inner.secret
    for name in ("fields", "items", "choices", "minimum", "maximum", "min_length", "max_length"):
        setattr(description, name, getattr(inner, name))
    for name in ("exclusive_minimum", "exclusive_maximum", "pattern", "shape", "dtype", "closed"):
        setattr(description, name, getattr(inner, name))


def _has_secret(schema: marshmallow.Schema, seen: set[type]) -> bool:
    """True if any field of it is one, however deep."""
    if type(schema) in seen:
        return False
    seen.add(type(schema))
    return any(_hides(field, seen) for field in schema.load_fields.values())


def _hides(field: Any, seen: set[type]) -> bool:
    if is_secret(field):
        return True
    if isinstance(field, fields.Nested):
        return _has_secret(field.schema, seen)
    parts = [getattr(field, "inner", None), getattr(field, "value_field", None)]
    parts += getattr(field, "tuple_fields", ())
    return any(_hides(part, seen) for part in parts if isinstance(part, fields.Field))


def _add_default(description: FieldDescription, field: Any) -> None:
    default = field.load_default
    if default is marshmallow.missing:
        return
    description.has_default = True
    if description.secret:
        return
    if not callable(default):
        description.default = _json_or_none(field, default)
        return
    # Shown only if it is the same each time: not for the present time or a random number.
    try:
        first, second = (json_form(field, default()) for _ in range(2))
    except Exception:  # an author's function may raise anything; it is asked again at each call
        return
    description.default = first if first == second else None


def _add_example(description: FieldDescription, field: Any) -> None:
    example = field.metadata.get("example")
    if example is None:
        several = field.metadata.get("examples")
        example = several[0] if isinstance(several, (list, tuple)) and several else None
    try:
        description.example = plain(example)
    except NoJsonForm:
        description.example = _json_or_none(field, example)


def _json_or_none(field: Any, value: Any) -> Any:
    try:
        return json_form(field, value)
    except NoJsonForm:
        return None
