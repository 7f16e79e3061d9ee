"""What is sent to the server and may be large: a file, or many files as one tar.

Both have a size that is known before, and can be read from any place on: so both can be sent in
parts, and gone on with after an interruption, without a copy of them on this disk.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import aiohttp

from ..members import CannotBeKept, members
from .bodies import plain_name
from .errors import ClientError

Progress = Callable[[int, int | None], None]
"""Called with the bytes done and in all (None: not known). Runs in the client's loop."""

CHUNK = 1 << 20


class Content(Protocol):
    """Bytes on this disk. `fingerprint` differs when they may have changed."""

    @property
    def filename(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes from `offset` on, in pieces of CHUNK at most. Blocking.

        Raises OSError, and ClientError if the files are not those of the beginning any more.
        """
        ...


class FileContent:
    """One file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError if it cannot be read."""
        self._path = Path(path)
        with self._path.open("rb") as file:
            told = os.fstat(file.fileno())
        if not stat.S_ISREG(told.st_mode):
            raise OSError(f"{self._path} is no file.")
        self.filename, self.size = self._path.name, told.st_size
        self.fingerprint = _digest([str(self._path.resolve()), _seen(told)])

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            yield from _read(file, self._path, offset, length)


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of a tar: it starts with a header, behind it come its bytes and the padding."""

    name: str
    path: Path
    size: int
    start: int
    header: int

    def made(self) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.size, info.mode = self.size, 0o644
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class TarContent:
    """Many files as one tar, which is made while it is read: the same files give the same bytes."""

    def __init__(self, files: Sequence[tuple[str, Path]], filename: str) -> None:
        """`files` are names in the tar with their paths. Raises OSError if one cannot be read."""
        self.filename = filename
        self._members: list[_Member] = []
        seen = []
        place = 0
        for name, path in sorted(files):
            with _opened(path) as file:
                told = os.fstat(file.fileno())
            member = _Member(name, path, told.st_size, place, 0)
            header = len(member.made())
            self._members.append(_Member(name, path, told.st_size, place, header))
            seen += [name, _seen(told)]
            place += header + _padded(told.st_size)
        self._end = place
        self.size = place + 2 * tarfile.BLOCKSIZE
        self._starts = [member.start for member in self._members]
        self.fingerprint = _digest([filename, *seen])

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        end = min(offset + length, self.size)
        first = max(0, bisect.bisect_right(self._starts, offset) - 1)
        for index in range(first, len(self._members)):
            member = self._members[index]
            if member.start >= end:
                break
            yield from _member_pieces(member, offset, end)
        zeros = end - max(offset, self._end)
        if zeros > 0:
            yield bytes(zeros)


def _member_pieces(member: _Member, offset: int, end: int) -> Iterator[bytes]:
    """What of a member lies between the two places of the tar."""
    body = member.start + member.header
    if offset < body:
        header = member.made()
        yield header[max(0, offset - member.start) : end - member.start]
    first, last = max(0, offset - body), min(member.size, end - body)
    if first < last:
        with _opened(member.path) as file:
            yield from _read(file, member.path, first, last - first)
    padding, stop = body + member.size, body + _padded(member.size)
    zeros = min(stop, end) - max(padding, offset)
    if zeros > 0:
        yield bytes(zeros)


def content_of(sources: Sequence[str | os.PathLike[str]]) -> Content:
    """A file as it is; a folder, or several files and folders, as one tar.

    Names in it are relative to the folder; of several paths, each keeps its own name. Links in a
    folder are sent as what they point to in it. Raises OSError for what cannot be read, ClientError
    if there is no file, a name comes twice, or a folder holds links that lead out, pipes or the
    like.
    """
    if not all(map(os.fspath, sources)):
        raise ClientError("An empty text is no path; `.` is the folder that you are in.")
    paths = [Path(source) for source in sources]
    if len(paths) == 1 and not paths[0].is_dir():
        return FileContent(paths[0])
    files: dict[str, Path] = {}
    for path in paths:
        for name, file in _files_of(path, alone=len(paths) == 1):
            if name in files:
                raise ClientError(f"{files[name]} and {file} have the same name: {name}.")
            files[name] = file
    if not files:
        raise ClientError(f"There are no files in {', '.join(map(str, paths))}.")
    top = Path(os.path.commonpath([path.resolve() for path in paths]))
    return TarContent(list(files.items()), f"{top.name or 'dataset'}.tar")


def _files_of(path: Path, alone: bool) -> Iterator[tuple[str, Path]]:
    """A path that is named may be a link; in a folder links lead to other files of it only."""
    place = path.resolve()
    if not path.is_dir():
        yield path.name, place
        return
    top = "" if alone else f"{place.name}/"
    try:
        for name, real in members(place):
            yield top + name, place / real
    except CannotBeKept as error:
        raise ClientError(f"{path} cannot be sent: in it, {error}") from None


class ContentBody:
    """A range of a content as the body of a request, read while it is sent.

    `told` is called with the bytes of this attempt that are sent.
    """

    def __init__(
        self,
        content: Content,
        headers: dict[str, str],
        told: Callable[[int], None] | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> None:
        self._content, self._headers, self._told = content, headers, told
        self._offset = offset
        self._length = content.size - offset if length is None else length

    streams = True
    repeatable = True

    def check(self) -> None:
        return None

    def open(self, stack: ExitStack) -> tuple[Any, dict[str, str]]:
        reading = _Reading(self._content.pieces(self._offset, self._length), self._told)
        stack.push(reading.explain)
        headers = {"Content-Length": str(self._length), **self._headers}
        return reading.chunks(), headers


class FormBody:
    """A whole content as the one file of a form, which tells the server its name."""

    def __init__(self, content: Content, told: Callable[[int], None] | None = None) -> None:
        self._content, self._told = content, told

    streams = True
    repeatable = True

    def check(self) -> None:
        return None

    def open(self, stack: ExitStack) -> tuple[Any, dict[str, str]]:
        size = self._content.size
        reading = _Reading(self._content.pieces(0, size), self._told)
        stack.push(reading.explain)
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", _Sized(reading, size), filename=plain_name(self._content.filename))
        return form(), {}


class _Sized(aiohttp.AsyncIterablePayload):
    """With its size, so that the server can refuse what is too large before it comes."""

    def __init__(self, reading: _Reading, size: int) -> None:
        super().__init__(reading.chunks(), content_type="application/octet-stream")
        self._size = size


class _Reading:
    """One attempt. What goes wrong on this side is not to look like a lost connection."""

    def __init__(self, pieces: Iterator[bytes], told: Callable[[int], None] | None) -> None:
        self._pieces, self._told = pieces, told
        self._fault: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        sent = 0
        if self._told is not None:
            self._told(0)
        try:
            while piece := await asyncio.to_thread(next, self._pieces, b""):
                yield piece
                sent += len(piece)
                if self._told is not None:
                    self._told(sent)
        except (OSError, ClientError) as error:
            self._fault = error
            raise

    def explain(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self._fault is not None and isinstance(error, Exception):
            raise self._fault


def sha256_of(content: Content, offset: int, length: int) -> bytes:
    """Of a range. Blocking."""
    digest = hashlib.sha256()
    for piece in content.pieces(offset, length):
        digest.update(piece)
    return digest.digest()


def _opened(path: Path) -> BinaryIO:
    """Of a path without links: one that is put there meanwhile is not followed. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = open(os.open(path, flags), "rb")  # noqa: PTH123, SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is no file.")
    return file


def _read(file: BinaryIO, path: Path, offset: int, length: int) -> Iterator[bytes]:
    file.seek(offset)
    left = length
    while left:
        piece = file.read(min(CHUNK, left))
        if not piece:
            raise ClientError(f"{path} became shorter while it was sent: send it again.")
        left -= len(piece)
        yield piece


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _seen(told: os.stat_result) -> str:
    return f"{told.st_size} {told.st_mtime_ns} {told.st_ino}"


def _digest(words: Sequence[str]) -> str:
    told = "\0".join(words).encode("utf-8", "surrogateescape")
    return hashlib.sha256(told).hexdigest()
