"""What a form costs the front, which reads it: bounded, and never for long at a time.

Whoever sends a form chooses the bytes: between two pieces of it others get their turn. Runs in the
front.
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import BodyPartReader

from ..errors import InvalidRequest, TooLarge

FIELDS_LIMIT = 1000
"""Form fields and files in one request."""
LINE_LIMIT = 8190
"""Bytes of one line of a part's head, as of a request's own (the framework's number)."""
_LINES_OF_PART = 20
"""Lines of heads that each part may have on average, the boundary included; programs send five."""
_LINES_BEFORE = 16
"""Lines before the first boundary (RFC 2046 allows a preamble; no program sends one)."""
_YIELDS = 64
"""Lines that are read without a pause: about a tenth of a millisecond."""
_PIECE = 64 * 1024
_CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16"})
"""Python's names. Others of its codecs take time that grows with the square of the length
(punycode: minutes for 3 MB), or are no charsets at all."""


class FormSource:
    """The body of a multipart form, as the framework's reader of forms reads it.

    `count` is told the size of each line that is no part's content. The reader's own limits are of
    one line and of one head: how many lines there are, and what stands before the first boundary,
    nobody counts. Raises TooLarge and InvalidRequest.
    """

    def __init__(self, content: Any, fields_limit: int, count: Callable[[int], None]) -> None:
        self._content = content
        self._count = count
        self._most = _LINES_BEFORE
        self._most_of_all = _LINES_OF_PART * fields_limit
        self._lines = 0
        self.read = content.read
        self.at_eof = content.at_eof
        self.unread_data = content.unread_data

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        line: bytes = await self._content.readline(max_line_length=max_line_length or LINE_LIMIT)
        self._lines += 1
        self._count(len(line))
        if line.startswith(b"--"):  # as a boundary does: it may have been the first
            self._most = self._most_of_all
        if self._lines > self._most:
            if self._most is not self._most_of_all:
                raise InvalidRequest(
                    f"The form does not begin with its boundary, nor has it in {self._most} lines."
                )
            raise TooLarge(
                f"The heads of the form's parts have more than {self._most} lines: send only "
                "Content-Disposition and Content-Type with each."
            )
        if self._lines % _YIELDS == 0:
            await asyncio.sleep(0)
        return line


def charset_of(part: BodyPartReader) -> str:
    """How a field's bytes are to be decoded. Raises ValueError for charsets that are not taken."""
    named = part.get_charset("utf-8")
    try:
        charset = codecs.lookup(named).name
    except (LookupError, ValueError):
        charset = ""
    if charset not in _CHARSETS:
        raise ValueError(f"the charset {named[:40]!r} is not taken, send UTF-8")
    return charset


async def parse_form(body: bytes) -> list[tuple[str, str]]:
    """The fields of an URL-encoded form. Raises InvalidRequest and TooLarge."""
    if body.count(b"&") >= FIELDS_LIMIT:
        raise TooLarge(f"The form has more than {FIELDS_LIMIT} fields.")
    pairs = []
    try:
        if not body.isascii():
            body.decode()
        for field in body.split(b"&"):
            if field:
                name, _, value = field.partition(b"=")
                pairs.append((await _unquoted(name), await _unquoted(value)))
    except UnicodeDecodeError as error:
        raise InvalidRequest("The form is not UTF-8.") from error
    return pairs


async def _unquoted(text: bytes) -> str:
    """Piece by piece: the standard library makes an object of each escape."""
    text = text.replace(b"+", b" ")
    if len(text) <= _PIECE or b"%" not in text:
        return unquote_to_bytes(text).decode("utf-8", "replace")
    found, at = bytearray(), 0
    while at < len(text):
        end = at + _PIECE
        escape = text.rfind(b"%", end - 2, end)  # which the cut would go through
        end = escape if escape > at else end
        found += unquote_to_bytes(text[at:end])
        at = end
        await asyncio.sleep(0)
    return found.decode("utf-8", "replace")
