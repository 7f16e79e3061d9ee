"""What a dataset is made of: its files with hashes, and one digest of them all.

Runs in the ingest process; the digest's function is pure. Standard library only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

_MOST = 100
"""Folders, and suffixes, that the counts tell apart."""


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


def counts(files: Sequence[ContentFile]) -> dict[str, Any]:
    """What can be told of any dataset: files and bytes by top folder and by suffix."""
    folders: Counter[str] = Counter()
    folder_bytes: Counter[str] = Counter()
    suffixes: Counter[str] = Counter()
    suffix_bytes: Counter[str] = Counter()
    for path, size, _ in files:
        pure = PurePosixPath(path)
        top = pure.parts[0] if len(pure.parts) > 1 else "."
        suffix = pure.suffix.lower()
        folders[top] += 1
        folder_bytes[top] += size
        suffixes[suffix] += 1
        suffix_bytes[suffix] += size
    return {
        "files": len(files),
        "size": sum(file.size for file in files),
        "folders": _counted(folders, folder_bytes),
        "suffixes": _counted(suffixes, suffix_bytes),
    }


def _counted(number: Counter[str], size: Counter[str]) -> dict[str, dict[str, int]]:
    """The most frequent ones by name, the rest together under `...`."""
    frequent = [name for name, _ in number.most_common(_MOST)]
    told = {name: {"files": number[name], "size": size[name]} for name in sorted(frequent)}
    left = number.total() - sum(number[name] for name in frequent)
    if left:
        rest = size.total() - sum(size[name] for name in frequent)
        told["..."] = {"files": left, "size": rest}
    return told


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
