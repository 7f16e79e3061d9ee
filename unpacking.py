"""Unpacks an archive that a stranger sent: zip, or tar, plain or as gzip, bzip2 or xz.

Taken: plain files and folders. Refused with BadArchive: paths that lead out of the folder, links,
devices, encrypted members, two members of one name, and bombs (too many members, too many bytes,
or too many for the archive's own size). Bytes are counted as they are written, never believed.

Runs in run processes and in the short-lived processes that take in datasets, never in the front.
On the ground, for models and storage both need it. Standard library only.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from .errors import BadArchive
from .members import NAME_LIMIT, PATH_LIMIT, path_fault

_CHUNK = 1 << 20
_TAR_HEADER_LIMIT = 1 << 20  # bytes
_MOST_HEADERS = 20  # before one member; programs write two or three

_LARGEST_MAP = 64 << 10
"""Bytes of the map of a sparse file's holes: some thousands of them. Each byte of it takes twenty
of memory."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of a zip's members. With others zipfile unpacks all that it has read at once, whatever that
becomes: 437 bytes of bzip2 were 400 MB of memory before the first was counted."""
_UNREADABLE = (NotImplementedError, ValueError, OverflowError, IndexError, struct.error)
"""What the readers raise for numbers and texts of a stranger that are none, beside their own."""

_TAR_BLOCK = 512  # bytes
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


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


Written = Callable[[str, int, str], None]
"""Told of each file that is written: its path with `/`, its bytes, and their SHA-256 in hex."""


@dataclass(frozen=True)
class Watcher:
    """Who is told how unpacking goes on. `read` is told how many of the archive's bytes are done,
    with each member and each MiB."""

    wrote: Written | None = None
    read: Callable[[int], None] | None = None


def unpack(
    archive: Path | BinaryIO,
    folder: Path,
    name: str,
    limits: Limits | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Writes the archive's files below `folder`, an empty one. `name` is what messages call it.

    `archive` may be an open file that can seek. Nothing is made durable: a sync for each of ten
    thousand files would take longer than all the rest. Raises BadArchive, and OSError if the disk
    cannot take it.
    """
    if isinstance(archive, Path):
        with archive.open("rb") as opened:
            unpack(opened, folder, name, limits, watcher)
        return
    limits = limits or Limits()
    size = archive.seek(0, os.SEEK_END)
    archive.seek(0)
    work = _Work(archive, folder, _Budget(name, limits, limits.bytes_for(size)), watcher)
    budget = work.budget
    try:
        if _is_zip(archive):
            _unpack_zip(work)
        else:
            _unpack_tar(work)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise budget.refused(f"the archive is damaged: {error}") from error
    except _UNREADABLE as error:
        raise budget.refused(f"the archive cannot be read: {str(error)[:200]}") from error
    except OSError as error:
        # The disk's, not the decompressors', nor that of a zip that names places beyond any file.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise budget.refused(f"the archive is damaged: {error}") from error
    if budget.members == 0:
        raise budget.refused("the archive is empty")


def is_archive(file: BinaryIO) -> bool:
    """True if the content begins as that of an archive that `unpack` takes; at most one member's
    header is read."""
    file.seek(0)
    try:
        if _is_zip(file):
            return True
        budget = _Budget("", Limits(), 4 * _TAR_HEADER_LIMIT)
        with _decompressed(file) as plain:
            counted = cast("IO[bytes]", _Counted(plain, budget))
            with _Headers.open(fileobj=counted, mode="r|", tarinfo=_TarHeader) as archive:
                return archive.next() is not None
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError, BadArchive):
        return False
    except _UNREADABLE:
        return False
    finally:
        file.seek(0)


def safe_path(name: str, told_as: str) -> PurePosixPath:
    """A stranger's name of a file as a path that stays inside a folder and that file systems take.

    `told_as` is what messages call the archive, or the upload. Raises BadArchive.
    """
    return _path(name, _Budget(told_as, Limits(), 0))


def _is_zip(file: BinaryIO) -> bool:
    """Whether `file` is a zip; leaves it at its start.

    The first bytes go before is_zipfile, which is content with the end of a zip anywhere in the
    last 64 KiB: a tar whose last member is a zip has that too. It also leaves the file elsewhere.
    """
    start = file.read(_TAR_BLOCK)
    tar = start.startswith(tuple(_OPENERS)) or start[257:262] == b"ustar"
    found = not tar and zipfile.is_zipfile(file)
    file.seek(0)
    return found


class _Budget:
    """Counts members and bytes. Its methods raise BadArchive."""

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

    def refusal(self, message: str) -> BadArchive:
        return self.refused(f"the archive is refused: {message}")

    def refused(self, message: str) -> BadArchive:
        return BadArchive(message, file=self.name)


@dataclass(frozen=True)
class _Work:
    """What is unpacked, where to, and who is told."""

    archive: BinaryIO
    folder: Path
    budget: _Budget
    watcher: Watcher | None

    def tell_read(self) -> None:
        if self.watcher is not None and self.watcher.read is not None:
            self.watcher.read(self.archive.tell())


def _unpack_zip(work: _Work) -> None:
    budget = work.budget
    with zipfile.ZipFile(work.archive) as archive:
        for member in archive.infolist():
            budget.count_member()
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise budget.refusal(f"{member.filename} is a link or a device")
            if member.flag_bits & 0x1:
                raise budget.refusal(f"{member.filename} is encrypted")
            if member.compress_type not in _METHODS:
                raise budget.refusal(
                    f"{member.filename[:200]} is packed by another method than deflate, the usual"
                    " one: pack it again"
                )
            path = _path(member.filename, budget)
            if member.filename.endswith("/"):  # is_dir() fails on an empty name
                _make_folder(work.folder / path, budget, member.filename)
            else:
                with archive.open(member) as content:
                    _write(content, path, work, member.filename, count=True)


def _unpack_tar(work: _Work) -> None:
    budget = work.budget
    with _decompressed(work.archive) as plain:
        counted = cast("IO[bytes]", _Counted(plain, budget))
        with _Headers.open(fileobj=counted, mode="r|", tarinfo=_TarHeader) as archive:
            for member in archive:
                cast(
                    Any, archive
                ).members.clear()  # tarfile keeps every header: a million are 400 MB
                budget.count_member()
                if not (member.isreg() or member.isdir()):
                    raise budget.refusal(f"{member.name} is a link or a device")
                path = _path(member.name, budget)
                if member.isdir():
                    _make_folder(work.folder / path, budget, member.name)
                    continue
                content = archive.extractfile(member)
                assert content is not None  # a regular file has content
                # A sparse member unpacks to more than was read, so what is written counts too.
                _write(content, path, work, member.name, count=member.issparse())


@contextmanager
def _decompressed(file: BinaryIO) -> Iterator[IO[bytes]]:
    """The plain tar; `file` stays open."""
    start = file.read(6)
    file.seek(0)
    opener = next((_OPENERS[magic] for magic in _OPENERS if start.startswith(magic)), None)
    if opener is None:
        yield file
        return
    with opener(file) as plain:
        yield cast("IO[bytes]", plain)


class _Counted:
    """A file that counts what is read from it, headers and padding too."""

    def __init__(self, file: IO[bytes], budget: _Budget) -> None:
        self._file = file
        self._budget = budget
        self._left: int | None = None

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._budget.count_bytes(len(data))
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise tarfile.ReadError("a member's map of holes is too long")
        return data

    @contextmanager
    def at_most(self, size: int) -> Iterator[None]:
        """While the block lasts about so many bytes may be read (tarfile reads some KiB ahead)."""
        self._left = size
        try:
            yield
        finally:
            self._left = None


class _Headers(tarfile.TarFile):
    """A tar with headers that stand before one member, counted."""

    in_a_row = 0


class _TarHeader(tarfile.TarInfo):
    """Refuses a header of a member (a long name, pax records) that would be read whole into memory:
    tarfile believes its stated size, up to 8 GB. And a long row of them: each is read by a call of
    the one before it."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = self.type in (b"L", b"K", b"x", b"g", b"X")
        if extended and self.size > _TAR_HEADER_LIMIT:
            raise tarfile.ReadError("a member's header is too long")
        if self.size < 0:
            raise tarfile.ReadError("a member has less than no bytes")
        counted = cast("_Headers", archive)
        counted.in_a_row = counted.in_a_row + 1 if extended else 0
        if counted.in_a_row > _MOST_HEADERS:
            raise tarfile.ReadError("a member has too many headers")
        return super()._proc_member(archive)  # type: ignore[misc]

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        with cast(Any, archive).fileobj.fileobj.at_most(_LARGEST_MAP):
            return super()._proc_sparse(archive)  # type: ignore[misc]

    def _proc_gnusparse_10(
        self, following: tarfile.TarInfo, headers: Any, archive: tarfile.TarFile
    ) -> None:
        with cast(Any, archive).fileobj.fileobj.at_most(_LARGEST_MAP):
            super()._proc_gnusparse_10(following, headers, archive)  # type: ignore[misc]


def _path(name: str, budget: _Budget) -> PurePosixPath:
    path = name.replace("\\", "/")
    fault = path_fault(path)
    if fault is not None:
        raise budget.refusal(f"the path {name[:200]!r} {fault}")
    return PurePosixPath(path)


def _too_long(name: str, budget: _Budget) -> BadArchive:
    return budget.refusal(
        f"the path {name[:200]!r} is too long: at most {NAME_LIMIT} bytes for each part,"
        f" {PATH_LIMIT} in all"
    )


def _make_folder(target: Path, budget: _Budget, name: str) -> None:
    with _faults_of_names_told(name, budget):
        target.mkdir(parents=True, exist_ok=True)


def _write(content: IO[bytes], path: PurePosixPath, work: _Work, name: str, count: bool) -> None:
    if not path.name:  # "", ".", "./.": the folder itself
        raise work.budget.refusal(f"the path {name[:200]!r} of a file names none")
    target = work.folder / path
    wrote = work.watcher.wrote if work.watcher is not None else None
    digest = hashlib.sha256() if wrote is not None else None
    size = 0
    with _faults_of_names_told(name, work.budget):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while piece := content.read(_CHUNK):
                if count:
                    work.budget.count_bytes(len(piece))
                file.write(piece)
                size += len(piece)
                if digest is not None:
                    digest.update(piece)
                work.tell_read()
    work.tell_read()
    if wrote is not None and digest is not None:
        wrote(path.as_posix(), size, digest.hexdigest())


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
