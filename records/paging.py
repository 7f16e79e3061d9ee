"""Cursors of lists whose rows are ordered by their number `seq`."""

from __future__ import annotations

import re

from ..errors import InvalidArguments

LARGEST = 2**63 - 1
"""The largest number that a row of SQLite can have."""
_CURSOR = re.compile(r"[0-9a-f]{1,16}\Z")


def cursor_after(seq: int) -> str:
    """The cursor of the page that begins after the row `seq`."""
    return f"{seq:x}"


def seq_of(cursor: str | None) -> int | None:
    """The `seq` after which the page begins. Raises InvalidArguments for what is no cursor."""
    if cursor is None:
        return None
    if _CURSOR.match(cursor) is None or int(cursor, 16) > LARGEST:
        raise InvalidArguments({"cursor": ["Not a cursor of this list."]})
    return int(cursor, 16)
