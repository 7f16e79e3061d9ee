"""Takes what a client sent into a folder: one archive is unpacked, files are put where they belong.

Runs in the ingest process. The content is judged, not the client's word for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ...digest import ContentFile
from ...errors import BadArchive, InvalidArguments
from ...unpacking import Limits, Watcher, is_archive, safe_path, unpack
from .parts import open_parts

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz"),
    *(".tar.gz", ".tar.bz2", ".tar.xz"),
)
_LIMITS = Limits(total_bytes=1 << 40)  # the disk's own limit comes first
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Item:
    """One file that came: its bytes, in parts, and the client's name for it ("" if none).

    `keep`: the parts stay, so that it can be tried again; else they go as soon as possible.
    """

    parts: Sequence[Path]
    name: str
    keep: bool = False

    @property
    def size(self) -> int:
        return sum(part.stat().st_size for part in self.parts)


@dataclass(frozen=True)
class Taken:
    """What lies in the folder now; `unpacked` if it came as one archive."""

    files: Sequence[ContentFile]
    unpacked: bool


def take(items: Sequence[Item], folder: Path, sha256: str | None, progress: Progress) -> Taken:
    """Makes `folder` with the content of `items`, whose files are moved or unpacked.

    A single item is unpacked if its name says that it is an archive, or if it has no suffix and
    its content is one: a table in .xlsx, say, is a zip too, and wanted as it is. `sha256` is what
    the single item's bytes must have, if given. Raises BadArchive, InvalidArguments for another
    hash, OSError.
    """
    folder.mkdir(mode=0o700)
    if len(items) != 1:
        return Taken(_place_all(items, folder, progress), unpacked=False)
    item = items[0]
    with open_parts(item.parts) as file:
        if sha256 is not None:
            _check(file, sha256)
        archive = _is_archive(item.name, file)
        if archive:
            files = _unpack(item, file, folder, progress)
    if not archive:
        files = _place_all([replace(item, name=item.name or "data")], folder, progress)
    return Taken(files, archive)


def _is_archive(name: str, file: BinaryIO) -> bool:
    lower = name.lower()
    if lower.endswith(ARCHIVE_SUFFIXES):
        return True  # what is none of that name is told by unpacking it
    suffix = Path(lower).suffix
    return suffix in ("", ".bin") and is_archive(file)


def _unpack(item: Item, file: BinaryIO, folder: Path, progress: Progress) -> list[ContentFile]:
    files: list[ContentFile] = []
    total = item.size
    watcher = Watcher(
        wrote=lambda path, size, sha256: files.append(ContentFile(path, size, sha256)),
        read=lambda done: progress(min(done, total), total),
    )
    unpack(file, folder, item.name or "archive", _LIMITS, watcher)
    if not item.keep:
        for part in item.parts:
            part.unlink(missing_ok=True)
    if not files:
        raise BadArchive("the archive has no files", file=item.name)
    return files


def _place_all(items: Sequence[Item], folder: Path, progress: Progress) -> list[ContentFile]:
    total = sum(item.size for item in items)
    done = 0
    files = []
    for item in items:
        path = safe_path(item.name, item.name)
        target = folder / path
        if path.as_posix() in ("", "."):
            raise BadArchive(f"{item.name!r} is no name of a file")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise FileExistsError
            _move(item, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BadArchive(f"two files are named {item.name!r}") from error
        digest = hashlib.sha256()
        size = 0
        with target.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                progress(min(done + size, total), total)
        done += size
        files.append(ContentFile(path.as_posix(), size, digest.hexdigest()))
    return files


def _move(item: Item, target: Path) -> None:
    """A rename or a link where the file system can; parts are joined."""
    if len(item.parts) == 1:
        if not item.keep:
            shutil.move(item.parts[0], target)
            return
        with suppress(OSError):
            os.link(item.parts[0], target)
            return
    with target.open("xb") as joined:
        for part in item.parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, _CHUNK)
            if not item.keep:  # the disk never holds much more than one copy
                part.unlink()


def _check(file: BinaryIO, sha256: str) -> None:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    if digest.hexdigest() != sha256.lower():
        raise InvalidArguments(
            {"sha256": [f"The bytes that came have another SHA-256: {digest.hexdigest()}."]}
        )
