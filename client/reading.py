"""From JSON values to typed ones. A newer server may send more than a client knows: that is kept
out, not refused; what is missing gets the value that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from .errors import UnexpectedAnswer

T = TypeVar("T")


def known(cls: type[T], data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `data` that are fields of the dataclass `cls`."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return {key: value for key, value in data.items() if key in names}


def moment(value: Any) -> datetime | None:
    """An aware datetime from RFC 3339 text; None from None and from what is no date."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """`value` as a JSON object. Raises UnexpectedAnswer naming `what` it should be."""
    if not isinstance(value, dict):
        raise UnexpectedAnswer(f"The server's answer is no {what}.")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    """`value` as a JSON array. Raises UnexpectedAnswer naming `what` it should be."""
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"The server's answer is no list of {what}.")
    return value
