"""Which neutral kind a marshmallow field is, found along its class's ancestors.

A field class of an author's own counts as the nearest marshmallow class that it derives from.
marshmallow 3 and 4, Python 3.8 syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from .fields import File, Tensor

_KINDS: tuple[tuple[str, str, str | None], ...] = (
    # class name in marshmallow.fields (by name: some are missing in older releases), kind, format
    ("String", "string", None),
    ("UUID", "uuid", None),
    ("Integer", "integer", None),
    ("Float", "number", None),
    ("Decimal", "number", None),
    ("Number", "number", None),
    ("Boolean", "boolean", None),
    ("DateTime", "datetime", None),
    ("NaiveDateTime", "datetime", "date-time-local"),
    ("AwareDateTime", "datetime", None),
    ("Date", "date", None),
    ("Time", "time", None),
    ("TimeDelta", "duration", None),
    ("Url", "url", None),
    ("Email", "email", None),
    ("IP", "ip", None),
    ("IPv4", "ip", "ipv4"),
    ("IPv6", "ip", "ipv6"),
    ("IPInterface", "string", "ip-interface"),
    ("List", "list", None),
    ("Tuple", "list", None),
    ("Mapping", "dict", None),
    ("Nested", "object", None),
)

_BY_CLASS: Mapping[type, tuple[str, str | None]] = {
    **{
        getattr(fields, name): (kind, format_)
        for name, kind, format_ in _KINDS
        if hasattr(fields, name)
    },
    File: ("file", None),
    Tensor: ("tensor", None),
}

_ISO = (None, "iso", "iso8601")


def kind_of(field: Any) -> tuple[str, str | None]:
    """The kind and the format of a field (see `description.KINDS`)."""
    if field.metadata.get("type") == "file":  # as DEEPaaS modules declare a file
        return "file", None
    if is_delimited(field):
        return "string", "comma-separated" if field.delimiter == "," else "delimited"
    kind, format_ = next(
        (_BY_CLASS[cls] for cls in type(field).__mro__ if cls in _BY_CLASS), ("any", None)
    )
    if kind in ("datetime", "date", "time"):
        told = getattr(field, "format", None)
        return kind, format_ if told in _ISO else str(told)
    return kind, format_


def is_delimited(field: Any) -> bool:
    """True for webargs' DelimitedList and DelimitedTuple: lists that clients send as one text."""
    return isinstance(getattr(field, "delimiter", None), str) and isinstance(
        field, (fields.List, fields.Tuple)
    )


def kind_of_value(value: Any) -> str:
    """The kind of a constant."""
    if isinstance(value, bool):
        return "boolean"
    for type_, kind in ((int, "integer"), (float, "number"), (str, "string"), (dict, "dict")):
        if isinstance(value, type_):
            return kind
    return "any"
