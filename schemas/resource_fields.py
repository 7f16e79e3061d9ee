"""Fields that the schemas of the server's resources share, each with its documentation.

Runs in the front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from marshmallow import ValidationError, fields

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


class WholeNumber(fields.Integer):
    """A whole number in a JSON body, as JSON Schema's `integer`: 3, 3.0; not "3", 3.5 or true."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return super()._deserialize(value, attr, data, **kwargs)


def time_field(about: str, **kwargs: Any) -> fields.DateTime:
    """A moment, given and told in UTC."""
    return fields.DateTime(metadata={"description": f"{about} RFC 3339, UTC."}, **kwargs)


# Unicode's categories Cc, Cs, Zl and Zp: they end lines, steer terminals, or cannot be written as
# UTF-8 at all (half of a surrogate pair, which JSON can name).
_CONTROL = "\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff"
_WHITE = "\n\r\t"
WITHOUT_CONTROLS = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"
"""The same as a JSON Schema's pattern; in texts of several lines:"""
LINES_WITHOUT_CONTROLS = WITHOUT_CONTROLS.replace("\\u001f", "\\u0008\\u000b\\u000c\\u000e-\\u001f")


def without_controls(lines: bool = False) -> Callable[[str], None]:
    """A validator of texts that others see in lists and terminals: no NUL, no escape sequences.

    With `lines` ends of lines and tabs are taken.
    """
    pattern = re.compile(f"(?![{_WHITE}])[{_CONTROL}]" if lines else f"[{_CONTROL}]")

    def check(value: str) -> None:
        found = pattern.search(value)
        if found is not None:
            raise ValidationError(
                f"Has the control character U+{ord(found[0]):04X} at {found.start() + 1}: leave "
                "it out."
            )

    return check
