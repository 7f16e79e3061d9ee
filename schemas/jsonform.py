"""The JSON form of a value that a field holds: a default, a choice, an example.

Runs in the worker. Python 3.8 syntax.
"""

from __future__ import annotations

import json
from typing import Any


class NoJsonForm(ValueError):
    """The value cannot be written as JSON; the text says why."""


def json_form(field: Any, value: Any) -> Any:
    """What a client would send to get `value` out of this field. Raises NoJsonForm."""
    if value is None:
        return None
    try:
        value = field._serialize(value, field.name or "", {})
    except Exception as error:
        # A field of the author's own may only know how to read; then the value may be JSON itself.
        try:
            return plain(value)
        except NoJsonForm:
            raise NoJsonForm(f"{type(error).__name__}: {error}") from error
    return plain(value)


def plain(value: Any) -> Any:
    """Numbers, texts, lists and objects as JSON reads them back. Raises NoJsonForm."""
    try:
        return json.loads(json.dumps(value, default=_plain_one, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise NoJsonForm(str(error)) from error


def _plain_one(value: Any) -> Any:
    """Decimals, numpy numbers and arrays, sets; other kinds have no JSON form of their own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if hasattr(value, "as_integer_ratio"):
        return float(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
