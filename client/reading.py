"""From JSON values to typed ones. A newer server may send more than a client knows: that is kept
out, not refused; what is missing gets the value that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from .errors import UnexpectedAnswer

T = TypeVar("T")
P = ParamSpec("P")
_DOUBT = "Is it a Modelyard server?"


def reads(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Makes UnexpectedAnswer of what happens when JSON has another form than `what` has.

    Something else than a Modelyard may answer at an address: there is no end of other forms.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def read(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except (TypeError, ValueError, AttributeError, LookupError) as error:
                raise UnexpectedAnswer(f"The server's answer is no {what}. {_DOUBT}") from error

        return read

    return decorate


def known(cls: type[T], data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `data` that are fields of the dataclass `cls`."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return {key: value for key, value in data.items() if key in names}


def identity(data: Mapping[str, Any], name: str, what: str) -> str:
    """The text that tells one `what` from others. Raises UnexpectedAnswer without one."""
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise UnexpectedAnswer(f"The server's answer is no {what}: it has no {name}. {_DOUBT}")
    return value


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
        raise UnexpectedAnswer(f"The server's answer is no {what}. {_DOUBT}")
    return value


def sequence(value: Any, what: str) -> list[Any]:
    """`value` as a JSON array. Raises UnexpectedAnswer naming `what` it should be."""
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"The server's answer is no list of {what}. {_DOUBT}")
    return value
