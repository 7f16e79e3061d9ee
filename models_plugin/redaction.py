"""Keeps secret arguments out of what is written down. Runs in the worker and the run process.

Python 3.8 syntax, standard library.
"""

from __future__ import annotations

from typing import Any

from ..schemas.description import FieldDescription


def holds_secret(described: FieldDescription) -> bool:
    """True if the field's value is a secret, or may hold one further in."""
    inner = [*(described.fields or ()), *([described.items] if described.items else ())]
    return described.secret or any(holds_secret(field) for field in inner)


def without_secrets(value: Any, described: FieldDescription | None) -> Any:
    """A JSON value for a record, without what its description calls secret."""
    if described is None:
        return value
    if isinstance(value, list) and described.items is not None:
        return [without_secrets(item, described.items) for item in value]
    if isinstance(value, dict) and described.fields:
        inner = {field.name: field for field in described.fields}
        return {
            key: without_secrets(item, inner.get(key))
            for key, item in value.items()
            if not (key in inner and inner[key].secret)
        }
    return value
