"""Writes a version's folder as an archive, while it reads it. A process of its own:

    python -m modelyard.storage.archives.export FOLDER tar.xz > FILE

In it: manifest.json, MODEL_CARD.md, files/ in the order of their names. The same version gives the
same bytes. Memory is bounded; every file is hashed on its way, and the process fails (exit code
DAMAGED, the reason on standard error) if it is not what the manifest says: then what was written is
no whole archive. It holds no credentials.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ..versions import BadVersion, in_words
from .card import model_card
from .formats import CARD, DAMAGED, MANIFEST, UNREADABLE, ArchiveFormat
from .manifests import as_bytes, load
from .writers import GzipWriter, XzWriter, shrinks

_CHUNK = 1 << 20
_MODE = 0o644
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_ZIP_YEARS = (1980, 2107)  # what its time stamps can tell


@dataclass(frozen=True)
class _Member:
    """One file of the archive; `sha256` is None where it is made here."""

    name: str
    size: int
    sha256: str | None
    content: Path | bytes


def export(folder: Path, kind: ArchiveFormat, out: BinaryIO) -> None:
    """Writes the archive to `out`, which need not seek. Raises BadVersion, and OSError."""
    manifest = load(folder)
    time = datetime.fromisoformat(str(manifest.get("created_at") or "1980-01-01"))
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    members = _members(folder, manifest)
    if kind is ArchiveFormat.ZIP:
        _write_zip(members, time, out)
        return
    writer = XzWriter(out.write) if kind is ArchiveFormat.TAR_XZ else GzipWriter(out.write)
    _write_tar(members, time, cast("IO[bytes]", writer))
    writer.close()


def _members(folder: Path, manifest: dict[str, Any]) -> Iterator[_Member]:
    for name, content in ((MANIFEST, as_bytes(manifest)), (CARD, model_card(manifest))):
        yield _Member(name, len(content), None, content)
    for item in sorted(manifest["files"], key=lambda item: str(item["path"])):
        path = folder / "files" / item["path"]
        yield _Member(f"files/{item['path']}", int(item["size"]), item.get("sha256"), path)


def _write_tar(members: Iterator[_Member], time: datetime, out: IO[bytes]) -> None:
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            header = tarfile.TarInfo(member.name)
            header.size, header.mode, header.mtime = member.size, _MODE, int(time.timestamp())
            with _Reader(member) as content:
                archive.addfile(header, cast("IO[bytes]", content))


def _write_zip(members: Iterator[_Member], time: datetime, out: BinaryIO) -> None:
    year = min(max(time.year, _ZIP_YEARS[0]), _ZIP_YEARS[1])
    stamp = (year, time.month, time.day, time.hour, time.minute, time.second)
    with zipfile.ZipFile(_NoSeek(out), "w") as archive:
        for member in members:
            header = zipfile.ZipInfo(member.name, stamp)
            header.external_attr = (stat.S_IFREG | _MODE) << 16
            header.file_size = member.size
            with _Reader(member) as content:
                first = content.read(_CHUNK)
                header.compress_type = (
                    zipfile.ZIP_DEFLATED if shrinks(first) else zipfile.ZIP_STORED
                )
                header._compresslevel = 1  # type: ignore[attr-defined]
                with archive.open(header, "w") as to:
                    while first:
                        to.write(first)
                        first = content.read(_CHUNK)


class _NoSeek(io.RawIOBase):
    """Hides that `out` may seek (a file does, a pipe does not): the bytes are the same for both."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._out.write(data)
        return len(data)


class _Reader:
    """A member's bytes, compared with its manifest on their way. Raises BadVersion."""

    def __init__(self, member: _Member) -> None:
        self._member = member
        self._digest = hashlib.sha256()
        self._left = member.size

    def __enter__(self) -> _Reader:
        content = self._member.content
        if isinstance(content, bytes):
            self._file: BinaryIO = io.BytesIO(content)
            return self
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(content, flags)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            raise BadVersion(f"{self._member.name} is missing, or no file") from error
        self._file = open(descriptor, "rb", buffering=0)  # noqa: PTH123
        if os.fstat(descriptor).st_size != self._member.size:
            raise BadVersion(f"{self._member.name} has not the size that the manifest says")
        return self

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self._left -= len(data)
        if not data and self._left:
            raise BadVersion(f"{self._member.name} ends before its end")
        return data

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        expected = self._member.sha256
        if kind is None and expected is not None and self._digest.hexdigest() != expected:
            raise BadVersion(f"{self._member.name} has not the SHA-256 of the manifest")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[1] not in list(ArchiveFormat):
        print(f"usage: export FOLDER {'|'.join(ArchiveFormat)} > FILE", file=sys.stderr)
        return 2
    os.nice(5)  # predictions go first
    folder = Path(arguments[0])
    try:
        with open(os.dup(1), "wb", buffering=_CHUNK) as out:  # noqa: PTH123
            export(folder, ArchiveFormat(arguments[1]), out)
    except BrokenPipeError:  # who asked for it has gone
        return 1
    except BadVersion as error:
        print(in_words(error, folder), file=sys.stderr)
        return DAMAGED
    except OSError as error:
        print(error.strerror or type(error).__name__, file=sys.stderr)
        return UNREADABLE
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
