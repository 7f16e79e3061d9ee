"""Answers of old modules that are no JSON: files, images, archives, texts. Python 3.8 syntax.

DEEPaaS sent the result as the body with the content type of the `accept` argument. Here a range
(`image/*`) becomes the type that the bytes show, and a file is sent as one without being asked.
"""

from __future__ import annotations

import io
import mimetypes
import os
from pathlib import Path
from typing import Any

from ...errors import PluginRefused
from .. import answers
from ..answers import JSON
from ..plugin import Answer
from ..values import ReturnedFile

_UNKNOWN = "application/octet-stream"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"<svg", "image/svg+xml"),
)


def file_answer(result: Any, wanted: str, folder: Path, limit: int = 0) -> Answer | None:
    """The answer if `result` is a file, bytes, or a text that was asked for as such; else None.

    `wanted` is the module's `accept` argument.
    """
    if _is_returned_file(result):
        name = result.original_filename
        path = Path(os.fspath(result.filename))
        kind = result.content_type or content_type_of(wanted, path.name, _first_bytes(path))
        return answers.file_answer(ReturnedFile(path, kind, name), None, folder, limit)
    if isinstance(result, os.PathLike):
        path = Path(result)
        kind = content_type_of(wanted, path.name, _first_bytes(path))
        return answers.file_answer(ReturnedFile(path, kind), None, folder, limit)
    if isinstance(result, (bytes, bytearray, memoryview)):
        data = bytes(result)
        return answers.file_answer(
            ReturnedFile(data, content_type_of(wanted, "", data)), None, folder, limit
        )
    if answers.is_open_file(result):
        return _of_open_file(result, wanted, folder, limit)
    if hasattr(result, "content_type") and hasattr(result, "body") and hasattr(result, "status"):
        return _of_response(result)
    if isinstance(result, str) and wanted not in (JSON, "*/*"):
        kind = content_type_of(wanted, "", b"")
        kind = "text/plain" if kind == _UNKNOWN else kind
        told = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        return Answer(told, result.encode("utf-8", "replace"))
    return None


def content_type_of(wanted: str, name: str, start: bytes) -> str:
    """The content type to tell: what was asked for if that is one, else what the bytes show."""
    if wanted not in (JSON, "*/*") and "*" not in wanted:
        return wanted
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(start[8:12], "video/x-msvideo")
    if start[4:8] == b"ftyp":
        return "video/mp4"
    return mimetypes.guess_type(name)[0] or _UNKNOWN


def _is_returned_file(result: Any) -> bool:
    """DEEPaaS's ReturnedFile, ours or the real one; a module may hand back an UploadedFile too."""
    return (
        isinstance(result, tuple)
        and hasattr(result, "original_filename")
        and bool(getattr(result, "filename", None))
    )


def _of_open_file(result: Any, wanted: str, folder: Path, limit: int) -> Answer | None:
    if isinstance(result, io.BytesIO):
        start = bytes(result.getbuffer()[:64])
    elif hasattr(result, "seekable") and result.seekable():
        result.seek(0)
        start = result.read(64)
        result.seek(0)
    else:
        start = b""
    name = getattr(result, "name", "")
    start = start.encode() if isinstance(start, str) else start
    kind = content_type_of(wanted, name if isinstance(name, str) else "", start)
    if isinstance(result, io.TextIOBase) and kind == _UNKNOWN:
        kind = "text/plain; charset=utf-8"
    return answers.file_answer(ReturnedFile(result, kind), None, folder, limit)


def _of_response(result: Any) -> Answer | None:
    """An aiohttp Response that a module made itself."""
    if result.status >= 400:
        raise PluginRefused(result.status, str(getattr(result, "reason", "") or "Refused"))
    body = result.body
    if not isinstance(body, (bytes, bytearray, type(None))):
        return None
    return Answer(str(result.content_type), bytes(body or b""))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:  # told by what copies it
        return b""
