"""What can be told of any dataset's files. Runs in the ingest process. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ...digest import ContentFile

_MOST = 100
"""Folders, and suffixes, that the counts tell apart."""


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
