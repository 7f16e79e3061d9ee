"""What a message becomes when it is read, told by its bytes alone. Runs in the front.

Protobuf makes an object of some two hundred bytes out of two bytes, and eight bytes out of a number
that came in one: a message of 62 MB took 6 GB, and its reading held everybody up for 12 s. So a
message is walked through before: its fields are counted, and what lies in them is not looked at.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ...errors import TooLarge

MOST_PARTS = 10_000
"""Inputs, outputs, parameters: each is an object, here and in the worker."""
MOST_FIELDS = 65_536
"""Of all parts: texts, raw contents, axes of shapes."""
_LEAST = 2
"""Bytes of a field: its number, and a length of 0."""
_GO_ON = bytes(range(0x80, 0x100))
"""Bytes of a whole number behind which more of its bytes come."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NUMBERS = "InferTensorContents"
_WIDTHS = {
    FieldDescriptor.CPPTYPE_INT32: 4,
    FieldDescriptor.CPPTYPE_UINT32: 4,
    FieldDescriptor.CPPTYPE_ENUM: 4,
    FieldDescriptor.CPPTYPE_INT64: 8,
    FieldDescriptor.CPPTYPE_UINT64: 8,
}
"""Bytes in memory of numbers that may be shorter in a message. Others have one length."""


class _Field(NamedTuple):
    """What is known of one that has a length: the fields of a part (None: it is none), or how wide
    each of its numbers is (0: it has none, or they are axes, which count as fields)."""

    part: Mapping[int, _Field] | None = None
    width: int = 0
    axes: bool = False


def weigh(message: bytes, kind: Descriptor, longest: int) -> int:
    """Bytes that the message has in memory when its numbers are laid out.

    Raises TooLarge if that is more than `longest`, or if it has too many fields. What is no message
    is left to its reader to tell.
    """
    if len(message) <= _LEAST * MOST_PARTS and 8 * len(message) <= longest:
        return len(message)
    scale = _Scale(message)
    scale.walk(0, len(message), _fields_of(kind))
    size = len(message) + scale.swollen
    if size > longest:
        raise TooLarge(
            f"The message's numbers have {size} bytes in memory, more than {longest}: send fewer.",
            limit=longest,
        )
    return size


class _Scale:
    """Counts, and raises TooLarge as soon as it is too much. `swollen`: bytes beyond those that
    came."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._parts = 0
        self._fields = 0
        self.swollen = 0

    def walk(self, at: int, end: int, fields: Mapping[int, _Field]) -> None:
        """The fields between two places; ends at what is none."""
        message = self._message
        while at < end:
            tag, at = self._number(at, end)
            self._count(1)
            wire = tag & 7
            if wire == _BYTES:
                size, at = self._number(at, end)
                if size > end - at:
                    return
                field = fields.get(tag >> 3)
                if field is not None:
                    if field.part is not None:
                        self._parts += 1
                        if self._parts > MOST_PARTS:
                            raise _too_many(MOST_PARTS, "inputs, outputs and parameters")
                        self.walk(at, at + size, field.part)
                    else:
                        count = len(message[at : at + size].translate(None, _GO_ON))
                        self.swollen += max(0, field.width * count - size)
                        self._count(count if field.axes else 0)
                at += size
            elif wire == _VARINT:
                _, at = self._number(at, end)
            else:
                at += {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """One of varying length, and the place behind it."""
        found = shift = 0
        while at < end:
            byte = self._message[at]
            at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80 or shift > 63:
                break
            shift += 7
        return found, at

    def _count(self, fields: int) -> None:
        self._fields += fields
        if self._fields > MOST_FIELDS:
            raise _too_many(MOST_FIELDS, "fields")


def _too_many(most: int, what: str) -> TooLarge:
    return TooLarge(
        f"The message has more than {most} {what}: send fewer, texts as raw_input_contents.",
        limit=most,
    )


@cache
def _fields_of(kind: Descriptor) -> Mapping[int, _Field]:
    """Those of a message that may become more than they are. No message of the protocol holds
    itself."""
    found: dict[int, _Field] = {}
    for one in kind.fields:
        about: Any = one
        if about.message_type is not None:
            found[about.number] = _Field(_fields_of(about.message_type))
        elif about.cpp_type in _WIDTHS:
            numbers = kind.name == _NUMBERS
            found[about.number] = _Field(
                width=_WIDTHS[about.cpp_type] if numbers else 0, axes=not numbers
            )
    return found
