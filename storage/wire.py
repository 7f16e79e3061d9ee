"""What passes between the front and the storage process: one JSON object a line.

    to the process     {"id", "op", "arguments"}    ask; ops are the names in process.py
                       {"id", "op": "more"}         the page was taken: send the next
                       {"id", "op": "cancel"}       stop soon
    to the front       {"id", "progress": [bytes done, bytes in all]}
                       {"id", "page"}               waits for "more" before the next
                       {"id", "done"}               the answer
                       {"id", "error": {"type", "message", "details"}}

Errors come out as the class they were raised as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .. import errors
from ..errors import InvalidArguments, InvalidSettings, ModelyardError, StorageUnavailable
from .versions import BadVersion

LINE_LIMIT = 256 * 1024 * 1024
"""Bytes. A line is a page of changes at most, which is far smaller; beyond it is no message."""

_CLASSES: dict[str, type[ModelyardError]] = {
    **{
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ModelyardError)
    },
    BadVersion.__name__: BadVersion,
}


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. What JSON does not know (a path, a time) goes as text."""
    return json.dumps(message, default=str).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises ValueError if it is no message."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("no JSON object")
    return message


def plain_error(error: ModelyardError) -> dict[str, Any]:
    """The error as it goes over the line."""
    details = dict(error.details)
    if isinstance(error, (InvalidArguments, InvalidSettings)):
        details["errors"] = error.errors
    return {"type": type(error).__name__, "message": error.message, "details": details}


def error_from(plain: Mapping[str, Any]) -> ModelyardError:
    """The error that came over the line; StorageUnavailable for a class that is not known here."""
    kind = _CLASSES.get(str(plain.get("type")), StorageUnavailable)
    message, details = str(plain.get("message")), dict(plain.get("details") or {})
    try:
        if issubclass(kind, InvalidArguments):
            return kind(details.pop("errors", {}), message)
        return kind(message, **details)
    except TypeError:
        return StorageUnavailable(message)
