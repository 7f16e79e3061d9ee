"""The kinds of archives, and telling which one a file is by its content."""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO

MANIFEST, CARD = "manifest.json", "MODEL_CARD.md"
"""What is beside files/ in an archive."""
DAMAGED, UNREADABLE = 3, 4
"""Exit codes of the process that packs: the version is not what its manifest says; the disk fails.
What stands on standard error then names no folder of this machine."""

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MAGIC_AT = 257


class ArchiveFormat(StrEnum):
    """What a version can be exported as; the words are the suffixes of the files."""

    TAR_XZ = "tar.xz"
    TAR_GZ = "tar.gz"
    ZIP = "zip"

    @property
    def content_type(self) -> str:
        """The media type that clients know it by (that of the outermost layer)."""
        if self is ArchiveFormat.ZIP:
            return "application/zip"
        return "application/x-xz" if self is ArchiveFormat.TAR_XZ else "application/gzip"


def sniff(file: BinaryIO) -> str | None:
    """`xz`, `gz`, `zip` or `tar` by the first bytes, whatever the file's name; None for all else.

    Leaves the file at its start.
    """
    file.seek(0)
    start = file.read(512)
    file.seek(0)
    if start.startswith(_XZ):
        return "xz"
    if start.startswith(_GZIP):
        return "gz"
    if start.startswith(_ZIP):
        return "zip"
    return "tar" if start[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar" else None
