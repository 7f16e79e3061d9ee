"""Markdown of which a stranger's text is never more than text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 500
"""Characters of one text; longer ones are cut."""

# What begins something inside a line: code, emphasis, links, pictures, tags, entities, cells.
_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]<>#|~&^$!@])")
# What GitHub makes links of without any mark.
_LINK = re.compile(r"(www)\.|(?<=[A-Za-z])(:)(?=//)|(mailto|xmpp):", re.IGNORECASE)
_BREAKS = re.compile(r"\s+")


def escaped(text: object) -> str:
    """One line of plain text: no marks, no links, no control or direction-changing characters."""
    plain = _BREAKS.sub(" ", str(text)).strip()
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    if len(plain) > LONGEST:
        plain = plain[: LONGEST - 1] + "…"
    plain = _MEANS_SOMETHING.sub(r"\\\1", plain)
    return _LINK.sub(lambda found: re.sub(r"([.:])\Z", r"\\\1", found[0]), plain)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table (GitHub's), every cell escaped; none if there are no rows."""
    lines = [_row(row) for row in rows]
    if not lines:
        return []
    return [_row(head), _row(["---"] * len(head)), *lines, ""]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"
