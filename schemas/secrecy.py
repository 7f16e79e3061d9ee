"""What of an argument's value is secret, by its description. Python 3.8 syntax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .description import FieldDescription


def holds_secret(described: FieldDescription) -> bool:
    """True if the field's value is a secret, or may hold one further in."""
    inner = [*(described.fields or ()), *([described.items] if described.items else ())]
    return described.secret or any(holds_secret(field) for field in inner)


def secret_texts(value: Any, described: FieldDescription | None) -> list[str]:
    """What a JSON value says in secret, as texts."""
    if described is None:
        return []
    if described.secret:
        return _texts(value)
    return [
        text for _, item, field in _members(value, described) for text in secret_texts(item, field)
    ]


def without_secrets(value: Any, described: FieldDescription | None) -> Any:
    """A JSON value for a record, without what its description calls secret: members and items are
    left out, of a list of fixed places None stands in their place."""
    if described is None:
        return value
    if described.secret:
        return None
    members = _members(value, described)
    if isinstance(value, dict):
        return {
            key: without_secrets(item, field)
            for key, item, field in members
            if field is None or not field.secret
        }
    if isinstance(value, list):
        fixed = described.items is None
        return [
            without_secrets(item, field)
            for _, item, field in members
            if fixed or field is None or not field.secret
        ]
    return value


def _members(
    value: Any, described: FieldDescription
) -> Iterator[tuple[Any, Any, FieldDescription | None]]:
    """Each one of a list or an object: its key or place, itself, and its description."""
    if isinstance(value, dict):
        known = {field.name: field for field in described.fields or ()}
        for key, item in value.items():
            yield key, item, known.get(key, described.items)
    elif isinstance(value, (list, tuple)):
        places = described.fields or ()
        for place, item in enumerate(value):
            yield place, item, places[place] if place < len(places) else described.items


def _texts(value: Any) -> list[str]:
    """Of a value that may be nested as deeply as JSON can be read: no call for each level."""
    texts, left = [], [value]
    while left:
        one = left.pop()
        if isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (str, int, float)) and not isinstance(one, bool):
            texts.append(str(one))
    return texts
