"""Names of datasets. Pure functions, used in the front."""

from __future__ import annotations

import re

from ...errors import InvalidArguments
from .taking import ARCHIVE_SUFFIXES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_ID = re.compile(r"[0-9a-f]{32}\Z")


def is_name(text: str) -> bool:
    """True for what a dataset may be called: no id of one, and no word of our addresses."""
    return bool(_NAME.match(text)) and not _ID.match(text) and text.lower() != "uploads"


def name_from(filename: str) -> str:
    """A dataset's name from that of a file. Raises InvalidArguments if nothing is left of it."""
    base = filename.replace("\\", "/").rpartition("/")[2]
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        if base.lower().endswith(suffix):
            base = base[: -len(suffix)]
            break
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", base).strip("-._")[:100]
    if not is_name(name):
        raise InvalidArguments({"name": ["Give the dataset a name."]})
    return name
