"""From arguments to the body of a request: JSON, or multipart where files come along.

A body is made anew for each attempt, since a streamed file can be read only once.
"""

from __future__ import annotations

import io
import json
import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import aiohttp

FileSource: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]
"""A path, the bytes themselves, or an open binary file."""


class Body(Protocol):
    """What a request carries. `streams` is true of what may take long to send."""

    @property
    def streams(self) -> bool: ...

    @property
    def repeatable(self) -> bool: ...

    def check(self) -> None:
        """Before any request: raises OSError for what cannot be read."""

    def open(self, stack: ExitStack) -> tuple[Any, dict[str, str]]:
        """Body and headers for aiohttp. What this opens is closed by `stack`."""
        ...


@dataclass(frozen=True)
class CallBody:
    """The arguments of one call: plain values, and files by argument name.

    Sent as JSON; as a form if `as_form`, and always with files.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileSource | Sequence[FileSource]] = field(default_factory=dict)
    as_form: bool = False

    def check(self) -> None:
        """Before any request: raises OSError for a path that cannot be read."""
        for _, source in self._sources():
            if isinstance(source, str | os.PathLike):
                Path(source).open("rb").close()

    @property
    def streams(self) -> bool:
        return bool(self.files)

    @property
    def repeatable(self) -> bool:
        """True if it can be sent twice: an open file that cannot be wound back can not."""
        return all(
            isinstance(source, str | bytes | os.PathLike) or source.seekable()
            for _, source in self._sources()
        )

    def open(self, stack: ExitStack) -> tuple[Any, dict[str, str]]:
        """Body and headers for aiohttp. Files that this opens are closed by `stack`."""
        if not self.files and not (self.as_form and self.arguments):
            if not self.arguments:
                return None, {}
            body = json.dumps(dict(self.arguments), default=_jsonable).encode()
            # From a file-like object it is sent in pieces, so that the loop goes on meanwhile.
            return io.BytesIO(body), {"Content-Type": "application/json"}
        form = aiohttp.FormData(quote_fields=False)
        for name, value in self.arguments.items():
            form.add_field(name, _text(value))
        for name, source in self._sources():
            content, filename = _content(source, stack)
            form.add_field(name, content, filename=filename, content_type=_type_of(filename))
        return form(), {}

    def _sources(self) -> Iterable[tuple[str, Any]]:
        for name, value in self.files.items():
            many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
            for source in value if many else (value,):  # type: ignore[union-attr]
                yield name, source


def _content(source: Any, stack: ExitStack) -> tuple[Any, str]:
    """What aiohttp streams, and the file's name (never its folder)."""
    if isinstance(source, bytes):
        return io.BytesIO(source), "data"
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return stack.enter_context(path.open("rb")), plain_name(path.name)
    if source.seekable():
        source.seek(0)
    return _Kept(source), plain_name(Path(str(getattr(source, "name", "") or "data")).name)


class _Kept:
    """An open file of the caller's: aiohttp closes what it has sent, and this one is not ours."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __aiter__(self) -> _Kept:
        return self

    async def __anext__(self) -> bytes:
        if chunk := self._file.read(256 * 1024):
            return chunk
        raise StopAsyncIteration


def plain_name(filename: str) -> str:
    """The name without control characters, which a header cannot hold."""
    return "".join(character if character.isprintable() else "_" for character in filename)


def _type_of(filename: str) -> str:
    return mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _text(value: Any) -> str:
    """The text of a form field: the server reads lists, dicts and null from their JSON form."""
    return value if isinstance(value, str) else json.dumps(value, default=_jsonable)


def _jsonable(value: Any) -> Any:
    """numpy arrays and scalars, dates, paths and sets, in the forms that the server reads."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"An argument of type {type(value).__name__} cannot be sent as JSON.")
