"""Reads the request of a model call: transport only, nothing of what it means.

Query, form, multipart, JSON and raw bodies become `RequestData`; files are streamed to the folder
of the call (small ones of a prediction stay in memory), counted by us (the framework's own limit
does not see multipart), with the client's suffix and a name of ours. Runs in the front.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from ..clearing import make_folder
from ..errors import InvalidRequest, TooLarge, UnsupportedMediaType
from ..schemas.routes import JSON
from ..schemas.tensors import BARE, NPY
from ..schemas.transport import FilePart, RequestData
from ..serving.coming import Coming
from .access.enforcing import confirm
from .forms import FIELDS_LIMIT, LINE_LIMIT, FormSource, charset_of, parse_form
from .port.handler import is_crowded, using
from .unpacked import body_of, coding_of_body

CHUNK = 256 * 1024
SENT = 64 * 1024
"""Bytes of a file that are sent at a time: each reader who is slow has two of them in memory."""
_SMALL_CHUNK = 16 * 1024
"""Of a form, whose reader keeps the last one, while it waits for its turn to send more."""
TEXT_LIMIT = 64 * 1024**2
"""Bytes of JSON, or of form fields, that one request may hold: they are kept in memory."""
RATIO_LIMIT = 100
"""How many times its compressed size a body may have, once it is larger than `RATIO_FROM` bytes."""
RATIO_FROM = 8 * 1024**2

IN_MEMORY = 256 * 1024
"""Bytes up to which one array or file goes to the worker with its message, and not by the disk."""
ALL_IN_MEMORY = 4 * IN_MEMORY
"""Bytes of the files of one request that may go so."""

_HEADERS_KEPT = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "inference-header-content-length",
        "user-agent",
    }
)
HEADERS_NEVER = frozenset({"authorization", "cookie", "proxy-authorization"})
UNREADABLE = (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError)
"""What the framework's readers raise for a body that is not what its head says."""
_ENCODED = ("base64", "quoted-printable")
_SUFFIX = re.compile(r"((?:\.tar)?\.[A-Za-z0-9]{1,10})\Z")


class SizeLimit:
    """Checks sizes as a body comes, which is unpacked piece by piece.

    `max_size` 0 is no limit. Raises UnsupportedMediaType for a body that is encoded otherwise than
    by gzip, or whose compressed length is not told; TooLarge for what is too long by that.
    """

    def __init__(self, request: web.Request, max_size: int) -> None:
        self._max_size = max_size
        self.packed: int | None = None
        encoding = coding_of_body(request)
        length = request.content_length
        if encoding == "gzip":
            if length is None:
                raise UnsupportedMediaType("Send a compressed body with its Content-Length.")
            self.packed = length
        elif encoding != "identity":
            raise UnsupportedMediaType("Send the body without a Content-Encoding, or with gzip.")
        if length is not None:
            self.check(length)

    def check(self, size: int) -> None:
        """Raises TooLarge if a body that has come to so many bytes is too large."""
        if self._max_size and size > self._max_size:
            raise TooLarge(
                f"The request is larger than {self._max_size} bytes (--client-max-size).",
                limit=self._max_size,
            )
        if self.packed is not None and size > max(RATIO_FROM, RATIO_LIMIT * self.packed):
            raise TooLarge(
                f"The body is more than {RATIO_LIMIT} times larger than its {self.packed} "
                "compressed bytes: send it as it is.",
                limit=RATIO_LIMIT * self.packed,
            )


class ModelRequestReader:
    """Reads one request; `folder` is made with the first file, and is the caller's to remove.

    `max_size` 0 is no limit; what is kept in memory has one all the same.
    `headers` are lower-case names that the model's arguments are looked for in. With `tensor` a
    body of nothing but numbers is the model's array, and no file. `keep_small`: small files stay
    in memory, which a request that is over in seconds can afford. `coming` is told of what is kept
    there.
    """

    def __init__(
        self,
        request: web.Request,
        folder: Path,
        max_size: int,
        hash_files: bool = False,
        headers: frozenset[str] = frozenset(),
        tensor: bool = False,
        fields_limit: int = FIELDS_LIMIT,
        text_limit: int = TEXT_LIMIT,
        keep_small: bool = False,
        coming: Coming | None = None,
    ) -> None:
        self._request = request
        self._folder = folder
        self._max_size = max_size
        self._limit: SizeLimit | None = None
        self._content: StreamReader
        self._hash_files = hash_files
        self._fields_limit = fields_limit
        self._text_limit = text_limit
        self._tensor = tensor
        self._kept = kept_headers(headers)
        self._size = 0
        self._text_size = 0
        self._files = 0
        length = request.content_length
        large = length is None or length > 2 * ALL_IN_MEMORY  # of many such it would be too much
        self._left_in_memory = ALL_IN_MEMORY if keep_small and not large else 0
        self._coming = coming or Coming(None)

    def head(self) -> RequestData:
        """All but the body. Raises UnsupportedMediaType or TooLarge."""
        request = self._request
        self._limit = SizeLimit(request, self._max_size)
        return RequestData(
            query=list(request.query.items()),
            headers=_headers(request, self._kept),
            accept=", ".join(request.headers.getall("Accept", ["*/*"])),
        )

    async def read(self) -> RequestData:
        """Raises InvalidRequest, UnsupportedMediaType or TooLarge; as `confirm` if the sender may
        not do this any more."""
        request, data = self._request, self.head()
        if not request.can_read_body:
            return data
        kind = request.content_type
        async with body_of(request) as self._content:
            await self._read_as(kind, data)
        await confirm(request)
        return data

    async def _read_as(self, kind: str, data: RequestData) -> None:
        try:
            if kind == "multipart/form-data":
                await self._read_multipart(data)
            elif kind == "application/x-www-form-urlencoded":
                data.form = await parse_form(await self._read_text())
            elif kind == "application/json" or kind.endswith("+json"):
                data.body = await self._read_text()
            elif self._tensor and kind in (NPY, BARE):
                await self._read_tensor(data, kind)
            elif kind.startswith("text/plain") or kind.startswith("multipart/"):
                raise UnsupportedMediaType(f"A body of {kind} is not taken: {self._taken()}.")
            else:
                await self._read_raw(data, kind)
        except UNREADABLE as error:  # of the reader
            raise InvalidRequest(
                f"The body is not valid {kind}: {why_unreadable(error)}"
            ) from error

    def _taken(self) -> str:
        if self._tensor:
            return f"send application/json, a form, multipart/form-data, {NPY} or {BARE}"
        return "send application/json, a form, multipart/form-data, or a file with its own type"

    async def read_infer(self) -> RequestData:
        """A request of the Open Inference Protocol, whose body the worker reads. Raises as `read`.

        What the answer is to be stands in its body, and not in an Accept header.
        """
        data = self.head()
        data.kind, data.accept = "infer", "*/*"
        kind = self._request.content_type
        if kind not in (JSON, BARE):
            raise UnsupportedMediaType(f"A body of {kind} is not taken here: send {JSON}.")
        try:
            async with body_of(self._request) as self._content:
                data.body = await self._read_text()
        except UNREADABLE as error:
            raise InvalidRequest(f"The body cannot be read: {why_unreadable(error)}") from error
        await confirm(self._request)
        return data

    async def _read_tensor(self, data: RequestData, kind: str) -> None:
        data.kind = "tensor"
        length = self._request.content_length
        if length is not None and length <= IN_MEMORY:
            data.body = await self._read_text()
        else:
            await self._read_raw(data, kind)

    async def _read_text(self) -> bytes:
        """The whole body, bounded, in memory."""
        limit = min(self._max_size or self._text_limit, self._text_limit)
        body = bytearray()
        async for chunk in self._content.iter_chunked(CHUNK):
            body += chunk
            self._count(len(chunk), kept=True)
            if len(body) > limit:
                raise TooLarge(
                    f"The body is larger than {limit} bytes, which is the most of what is kept in "
                    "memory: send large arguments as files (multipart/form-data).",
                    limit=limit,
                )
        return bytes(body)

    async def _read_multipart(self, data: RequestData) -> None:
        source = FormSource(self._content, self._fields_limit, self._count)
        reader = MultipartReader(self._request.headers, cast(StreamReader, source))
        count = 0
        while (part := await self._next_part(reader)) is not None:
            count += 1
            if count > self._fields_limit:
                raise TooLarge(
                    f"The form has more than {self._fields_limit} fields and files.",
                    limit=self._fields_limit,
                )
            if not isinstance(part, BodyPartReader):
                raise InvalidRequest("A multipart part may not be multipart itself.")
            name = part.name
            if not name:
                raise InvalidRequest("A multipart part has no name in its Content-Disposition.")
            if part.filename is None:
                data.form.append((name, await self._read_field(part)))
            elif part.headers.get("Content-Transfer-Encoding", "binary").lower() in _ENCODED:
                raise InvalidRequest(f"Send the file {name!r} as it is, not encoded.")
            elif part.filename or part.headers.get("Content-Type"):
                file = await self._store(part, name, part.filename, _type_of(part))
                # A browser sends an empty nameless part for a file input left empty.
                if part.filename or file.size:
                    data.files.append(file)

    async def _next_part(self, reader: MultipartReader) -> Any:
        await asyncio.sleep(0)  # a thousand small parts may have come at once
        try:
            return await reader.next()
        except RuntimeError as error:  # of a `_charset_` that is none
            raise ValueError(str(error)) from error

    async def _read_field(self, part: BodyPartReader) -> str:
        value = bytearray()
        while chunk := await part.read_chunk(CHUNK):
            value += chunk
            self._count(len(chunk), kept=True)
            self._text_size += len(chunk)
            if self._text_size > self._text_limit:
                raise TooLarge(
                    f"The form's fields hold more than {self._text_limit} bytes: send large "
                    "arguments as files, with a filename.",
                    limit=self._text_limit,
                )
        try:
            return bytes(part.decode(value)).decode(charset_of(part))
        except (ValueError, RuntimeError) as error:
            raise InvalidRequest(
                f"The form field {str(part.name)[:100]!r} cannot be decoded: {str(error)[:200]}"
            ) from error

    async def _read_raw(self, data: RequestData, kind: str) -> None:
        part = await self._store(self._content, "", "", kind)
        if part.size:
            data.raw = part

    async def _store(self, source: Any, field: str, filename: str, content_type: str) -> FilePart:
        """Streams one file to the call's folder, or keeps a small one."""
        self._files += 1
        path = self._folder / f"{self._files:04d}{suffix_of(filename, content_type)}"
        name = filename or f"body{path.suffix}"
        read = source.read_chunk if isinstance(source, BodyPartReader) else source.read
        most = min(IN_MEMORY, self._left_in_memory)
        begin = b""
        while most and len(begin) <= most:
            chunk = await read(CHUNK)
            if not chunk:
                self._left_in_memory -= len(begin)
                return FilePart(field, str(path), name, content_type, len(begin), content=begin)
            begin += chunk
            self._count(len(chunk), kept=True)
        make_folder(self._folder)
        digest = hashlib.sha256() if self._hash_files else None
        size = len(begin)
        request, is_part = self._request, isinstance(source, BodyPartReader)
        with path.open("wb") as file:
            if begin:
                await asyncio.to_thread(_write, file, begin, digest)
            while chunk := await read(_SMALL_CHUNK if is_part and is_crowded(request) else CHUNK):
                size += len(chunk)
                self._count(len(chunk))
                if len(chunk) < CHUNK // 4 and digest is None:
                    file.write(chunk)  # into the page cache: cheaper than a hop to a thread
                else:
                    with using(request, len(chunk)):
                        await asyncio.to_thread(_write, file, chunk, digest)
                    del chunk
        sha256 = digest.hexdigest() if digest else ""
        return FilePart(field, str(path), name, content_type, size, sha256)

    def _count(self, size: int, kept: bool = False) -> None:
        """So many bytes came; `kept`: in memory."""
        self._size += size
        if kept:
            self._coming.came(size)
        if self._limit is not None:
            self._limit.check(self._size)


def why_unreadable(error: Exception) -> str:
    """In a line, without the framework's `400, message:` and much of what the client sent."""
    if isinstance(error, LineTooLong):
        return f"a line of a part's head has more than {LINE_LIMIT} bytes"
    told = error.message if isinstance(error, HttpProcessingError) else str(error)
    told = " ".join(told.split())
    return told if len(told) <= 200 else f"{told[:120]} ... {told[-80:]}"


def _write(file: BinaryIO, chunk: bytes, digest: Any) -> None:
    file.write(chunk)
    if digest is not None:
        digest.update(chunk)


def kept_headers(arguments: frozenset[str]) -> frozenset[str]:
    """Lower-case names of the headers that go to the model, beside those that begin with `x-`:
    those that its `arguments` name too, but never credentials."""
    return (arguments | _HEADERS_KEPT) - HEADERS_NEVER


def _headers(request: web.Request, kept: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        if name in kept or name.startswith("x-"):
            # Of one that stands twice: a list, as any proxy may have written it (RFC 9110, 5.3).
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _type_of(part: BodyPartReader) -> str:
    return part.headers.get("Content-Type", "application/octet-stream").split(";")[0].strip()


def suffix_of(filename: str, content_type: str) -> str:
    """The client's suffix if it is a plain one, else one that fits the content type, else none."""
    match = _SUFFIX.search(filename)
    if match:
        return match.group(1)
    subtype = content_type.partition("/")[2]
    return f".{subtype}" if subtype in ("png", "jpeg", "tiff", "zip", "gif", "webp") else ""
