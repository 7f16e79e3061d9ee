"""The digest of data: one hash of a folder's files, whoever computes it.

On the ground, for datasets have it in the storage room and run processes tell it of a folder below
the data root. Pure. Python 3.8 syntax and library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple


class ContentFile(NamedTuple):
    """One file: its path below the dataset's folder with `/`, its bytes, their SHA-256 in hex."""

    path: str
    size: int
    sha256: str


def content_digest(files: Iterable[ContentFile]) -> str:
    """SHA-256 over the files in the order of their paths, in hex.

    Only paths, sizes and bytes count: not the archive that they came in, its order or packing, nor
    times, owners and modes. A path's bytes cannot hold NUL or the line's end of another record, as
    the size between them is a number.
    """
    digest = hashlib.sha256(b"modelyard dataset 1\n")
    for path, size, sha256 in sorted((_bytes(f.path), f.size, f.sha256) for f in files):
        digest.update(b"%s\0%d\0%s\n" % (path, size, sha256.encode()))
    return digest.hexdigest()


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
