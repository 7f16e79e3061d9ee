"""The usual way of a call's arguments: JSON with known names, a schema without hooks.

What marshmallow's `Schema.load` does for such a schema is to call `deserialize` of each of its
fields; around that it does five times as much work as a field with one number has. Anything that is
not usual, and every mistake, goes the whole way in `arguments.py`, which tells what is wrong. Runs
in the worker. Python 3.8 syntax, marshmallow 3 or 4.
"""

from __future__ import annotations

from typing import Any

import marshmallow

from ..schemas.exactjson import loads
from ..schemas.transport import RequestData

_OWN = ("load", "_do_load", "_deserialize", "_invoke_field_validators", "get_attribute")
"""What a subclass of Schema may have its own of: then its loading is its own too."""


class PlainArguments:
    """See `plain_arguments`, which makes them."""

    def __init__(self, schema: marshmallow.Schema) -> None:
        self._fields = [
            (
                name if field.data_key is None else field.data_key,
                field.attribute or name,
                field.deserialize,
            )
            for name, field in schema.load_fields.items()
        ]
        self._names = {key for key, _, _ in self._fields}

    def load(self, request: RequestData) -> dict[str, Any] | None:
        """The validated arguments; None if the request has to go the whole way."""
        if request.query or request.form or request.files or request.raw is not None:
            return None
        document = request.document
        try:
            if document is None:
                document = loads(request.body)
            if not isinstance(document, dict) or not self._names.issuperset(document):
                return None
            loaded = {}
            for key, attribute, deserialize in self._fields:
                value = deserialize(document.get(key, marshmallow.missing), key, document)
                if value is not marshmallow.missing:
                    loaded[attribute] = value
        except (ValueError, OverflowError, RecursionError, marshmallow.ValidationError):
            return None
        return loaded


def plain_arguments(schema: marshmallow.Schema, slots: dict[str, Any]) -> PlainArguments | None:
    """The short way of a schema, whose `slots` are those of `Arguments`; None if it has none."""
    kind = type(schema)
    own = any(
        getattr(kind, name, None) is not getattr(marshmallow.Schema, name, None) for name in _OWN
    )
    hooks = getattr(schema, "_hooks", None)
    if own or not isinstance(hooks, dict) or any(hooks.values()):
        return None
    if schema.many or schema.partial or "accept" in slots:
        return None
    names = set()
    for name, field in schema.load_fields.items():
        names.add(name if field.data_key is None else field.data_key)
        if "." in (field.attribute or name):  # makes a dict in a dict
            return None
    plain = all(slot.looks_in("json") and not slot.is_file for slot in slots.values())
    return PlainArguments(schema) if plain and names == set(slots) else None
