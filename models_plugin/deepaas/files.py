"""The values that old modules know files by. Standard library only, Python 3.8 syntax.

Their names, order and defaults are DEEPaaS's: modules make them, unpack them and compare types.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from ..values import UploadedFile as Uploaded


class UploadedFile(NamedTuple):
    """A file that came with the call; `filename` is its path on this machine."""

    name: str | None = None
    filename: str | None = None
    content_type: str | None = None
    original_filename: str | None = None


class ReturnedFile(NamedTuple):
    """An answer that is the file at the path `filename`."""

    name: str | None = None
    filename: str | None = None
    content_type: str | None = None
    original_filename: str | None = None


def as_module_knows(value: Any) -> Any:
    """`value` with our uploaded files as the class that the module has imported, if it has."""
    if isinstance(value, Uploaded):
        # The real one, where DEEPaaS itself is installed and the module asked for it.
        wrapper = sys.modules.get("deepaas.model.v2.wrapper")
        cls = getattr(wrapper, "UploadedFile", UploadedFile)
        return cls(value.name, value.filename, value.content_type, value.original_filename)
    if isinstance(value, list) and any(isinstance(item, Uploaded) for item in value):
        return [as_module_knows(item) for item in value]
    return value
