"""Fields that the schemas of the server's resources share, each with its documentation.

Runs in the front.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from marshmallow import fields

from .states import Word


class WordField(fields.String):
    """One word of an enumeration; its sentences are the documentation."""

    def __init__(self, words: type[Word], **kwargs: Any) -> None:
        told = " ".join(f"`{word.value}`: {word.sentence}" for word in words)
        about = (words.__doc__ or "").strip().splitlines()[0]
        enum: list[str | None] = [word.value for word in words]
        if kwargs.get("allow_none"):
            enum.append(None)
        super().__init__(metadata={"description": f"{about} {told}", "enum": enum}, **kwargs)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        # str() of a member is its Python name; clients get its word.
        return value.value if isinstance(value, Enum) else value


def id_field(about: str, **kwargs: Any) -> fields.String:
    """An id of ours: 32 hex digits."""
    return fields.String(
        metadata={"description": f"{about} 32 hex digits.", "pattern": "^[0-9a-f]{32}$"}, **kwargs
    )


def text_field(about: str, **kwargs: Any) -> fields.String:
    """A text, and what it says."""
    return fields.String(metadata={"description": about}, **kwargs)


def time_field(about: str, **kwargs: Any) -> fields.DateTime:
    """A moment, given and told in UTC."""
    return fields.DateTime(metadata={"description": f"{about} RFC 3339, UTC."}, **kwargs)
