"""Unpacks an archive that a stranger sent. Runs in the run process.

Taken: plain files and folders. Refused with InvalidData: paths that lead out of the folder, links,
devices, encrypted members, two members of one name, and bombs (too many members, too many bytes,
or too many for the archive's own size). Bytes are counted as they are written, never believed.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from ..values import InvalidData

_CHUNK = 1 << 20
_TAR_HEADER_LIMIT = 1 << 20  # bytes
_NAME_LIMIT = 255  # bytes of one part of a path: what file systems take
_PATH_LIMIT = 1000  # bytes

_TAR_BLOCK = 512  # bytes
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"


@dataclass(frozen=True)
class Limits:
    """`ratio` bounds unpacked bytes by the archive's own size; pictures hardly compress, and
    `slack_bytes` are free so that a small archive of empty pictures passes."""

    members: int = 1_000_000
    total_bytes: int = 64 << 30
    ratio: int = 100
    slack_bytes: int = 256 << 20

    def bytes_for(self, archive_bytes: int) -> int:
        return min(self.total_bytes, self.slack_bytes + self.ratio * archive_bytes)


def unpack(archive: Path, folder: Path, name: str, limits: Limits | None = None) -> None:
    """Writes the archive's files below `folder`, an empty one. `name` is what messages call it.

    Raises InvalidData, and OSError if the disk cannot take it.
    """
    limits = limits or Limits()
    budget = _Budget(name, limits, limits.bytes_for(archive.stat().st_size))
    try:
        with archive.open("rb") as file:
            if _is_zip(file):
                _unpack_zip(file, folder, budget)
            else:
                _unpack_tar(file, folder, budget)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise InvalidData(f"the archive is damaged: {error}", name) from error
    except (NotImplementedError, UnicodeError) as error:
        raise InvalidData(f"the archive cannot be read: {error}", name) from error
    except OSError as error:
        if error.errno is not None:  # the disk's, not the decompressors'
            raise
        raise InvalidData(f"the archive is damaged: {error}", name) from error
    if budget.members == 0:
        raise InvalidData("the archive is empty", name)


def _is_zip(file: BinaryIO) -> bool:
    """Whether `file` is a zip; leaves it at its start.

    The first bytes go before is_zipfile, which is content with the end of a zip anywhere in the
    last 64 KiB: a tar whose last member is a zip has that too. It also leaves the file elsewhere.
    """
    start = file.read(_TAR_BLOCK)
    tar = start.startswith((_GZIP, _BZIP2, _XZ)) or start[257:262] == b"ustar"
    found = not tar and zipfile.is_zipfile(file)
    file.seek(0)
    return found


class _Budget:
    """Counts members and bytes. Its methods raise InvalidData."""

    def __init__(self, name: str, limits: Limits, most_bytes: int) -> None:
        self.name = name
        self.members = 0
        self._most_members = limits.members
        self._left = most_bytes
        self._most_bytes = most_bytes

    def count_member(self) -> None:
        self.members += 1
        if self.members > self._most_members:
            raise self.refusal(f"more than {self._most_members} members")

    def count_bytes(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self.refusal(
                f"it unpacks to more than {self._most_bytes} bytes, too much for its size"
            )

    def refusal(self, message: str) -> InvalidData:
        return InvalidData(f"the archive is refused: {message}", self.name)


def _unpack_zip(file: BinaryIO, folder: Path, budget: _Budget) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            budget.count_member()
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise budget.refusal(f"{member.filename} is a link or a device")
            if member.flag_bits & 0x1:
                raise budget.refusal(f"{member.filename} is encrypted")
            target = _target(folder, member.filename, budget)
            if member.is_dir():
                _make_folder(target, budget, member.filename)
            else:
                with archive.open(member) as content:
                    _write(content, target, budget, member.filename, count=True)


def _unpack_tar(file: BinaryIO, folder: Path, budget: _Budget) -> None:
    with _decompressed(file) as plain:
        counted = cast("IO[bytes]", _Counted(plain, budget))
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_TarHeader) as archive:
            for member in archive:
                budget.count_member()
                if not (member.isreg() or member.isdir()):
                    raise budget.refusal(f"{member.name} is a link or a device")
                target = _target(folder, member.name, budget)
                if member.isdir():
                    _make_folder(target, budget, member.name)
                    continue
                content = archive.extractfile(member)
                assert content is not None  # a regular file has content
                # A sparse member unpacks to more than was read, so what is written counts too.
                _write(content, target, budget, member.name, count=member.issparse())


def _decompressed(file: BinaryIO) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(file))
    if start.startswith(_BZIP2):
        return cast("IO[bytes]", bz2.open(file))
    if start.startswith(_XZ):
        return cast("IO[bytes]", lzma.open(file))
    return file


class _Counted:
    """A file that counts what is read from it, headers and padding too."""

    def __init__(self, file: IO[bytes], budget: _Budget) -> None:
        self._file = file
        self._budget = budget

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._budget.count_bytes(len(data))
        return data


class _TarHeader(tarfile.TarInfo):
    """Refuses a header of a member (a long name, pax records) that would be read whole into memory:
    tarfile believes its stated size, up to 8 GB."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = self.type in (b"L", b"K", b"x", b"g", b"X")
        if extended and self.size > _TAR_HEADER_LIMIT:
            raise tarfile.ReadError("a member's header is too long")
        return super()._proc_member(archive)  # type: ignore[misc]


def _target(folder: Path, name: str, budget: _Budget) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    bad = path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name
    if bad:
        raise budget.refusal(f"the path {name[:200]!r} leads out of the folder or is no path")
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _NAME_LIMIT or len(os.fsencode(name)) > _PATH_LIMIT:
        raise _too_long(name, budget)
    return folder.joinpath(*path.parts)


def _too_long(name: str, budget: _Budget) -> InvalidData:
    return budget.refusal(
        f"the name of the member {name[:200]!r} is too long: at most {_NAME_LIMIT} bytes for each"
        f" part, {_PATH_LIMIT} in all"
    )


def _make_folder(target: Path, budget: _Budget, name: str) -> None:
    with _faults_of_names_told(name, budget):
        target.mkdir(parents=True, exist_ok=True)


def _write(content: IO[bytes], target: Path, budget: _Budget, name: str, count: bool) -> None:
    with _faults_of_names_told(name, budget):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in _chunks(content):
                if count:
                    budget.count_bytes(len(chunk))
                file.write(chunk)


@contextmanager
def _faults_of_names_told(name: str, budget: _Budget) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise budget.refusal(f"two members are named {name!r}") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # some file systems take fewer bytes
            raise
        raise _too_long(name, budget) from error


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(_CHUNK):
        yield chunk
