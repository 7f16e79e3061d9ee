"""Makes a bundle of a folder of files: equal files are shared, the manifest comes last.

Runs in the ingest process.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...digest import ContentFile
from .taking import Progress

_CHUNK = 1 << 20
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


def seal(
    folder: Path,
    files: Sequence[ContentFile],
    head: Mapping[str, Any],
    relatives: Iterable[Path],
    progress: Progress,
) -> None:
    """Writes `folder`/manifest.json: `head`, and `files`, which lie below `folder`/files.

    Files that a bundle in `relatives` has too become hard links to its own, so that identical
    content is stored once. A relative's file is hashed first: one that the disk has spoilt is not
    spread. Nothing is made durable here. Raises OSError.
    """
    _share(folder / "files", files, relatives, progress)
    manifest = {
        **head,
        "files": [
            {"path": file.path, "size": file.size, "sha256": file.sha256}
            for file in sorted(files, key=lambda file: os.fsencode(file.path))
        ],
        "size": sum(file.size for file in files),
    }
    # In ASCII: a path of a stranger may be no UTF-8.
    text = json.dumps(manifest, allow_nan=False, separators=(",", ":"))
    (folder / "manifest.json").write_text(text, "ascii")


def _share(
    root: Path, files: Sequence[ContentFile], relatives: Iterable[Path], progress: Progress
) -> None:
    total = sum(file.size for file in files)
    wanted = list(files)
    done = 0
    for relative in relatives:
        known = _by_hash(relative)
        left = []
        for file in wanted:
            source = _taken_from(known.get((file.sha256, file.size), []), file.path)
            path = None if source is None else relative / "files" / source
            if path is None or file.size == 0 or not _link(path, root / file.path, file.sha256):
                left.append(file)
                continue
            done += file.size
            progress(min(done, total), total)
        wanted = left


def _by_hash(relative: Path) -> dict[tuple[str, int], list[str]]:
    # Read here, not by transfer/, which would bring all of S3 along: 0.2 s for every dataset. The
    # bundle is one of this disk, checked when it came.
    known: dict[tuple[str, int], list[str]] = {}
    try:
        files = json.loads((relative / "manifest.json").read_bytes())["files"]
        for file in files:
            known.setdefault((file["sha256"], file["size"]), []).append(file["path"])
    except (OSError, ValueError, KeyError, TypeError):  # being removed, or an operator's hand
        return {}
    return known


def _taken_from(paths: list[str], wanted: str) -> str | None:
    """One of `paths`, the same path if it is there; taken out of them: two files of one dataset
    that are equal stay two files, for a model may take two names of one file for a fault."""
    if not paths:
        return None
    return paths.pop(paths.index(wanted) if wanted in paths else 0)


def _link(source: Path, target: Path, sha256: str) -> bool:
    """Puts a link to `source` in the place of `target`, if it has that hash."""
    link = target.parent / f".link-{os.getpid()}"
    try:
        if _hash(source) != sha256:
            return False
        os.link(source, link)
    except OSError as error:
        if error.errno in _NO_LINK or isinstance(error, FileNotFoundError):
            return False
        raise
    link.replace(target)
    return True


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
