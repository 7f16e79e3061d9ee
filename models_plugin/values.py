"""Values that pass between a plugin and the server. Standard library only, Python 3.8 syntax."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DiskFull
from ..schemas.transport import FilePart

EVENT_FILE_MARK = "tfevents"
"""What TensorBoard takes for an event file has this in its name (`IsTensorFlowEventsFile`)."""


@dataclass(frozen=True)
class UploadedFile:
    """A file that came with the call, there until the call (or, in a training, the run) ends.

    `filename` is its path on this machine, with the suffix that the client's name had;
    `original_filename` is the client's name, which is only a text. These are DEEPaaS's names.
    """

    name: str
    filename: str
    content_type: str = "application/octet-stream"
    original_filename: str = ""
    size: int = 0

    @property
    def path(self) -> Path:
        return Path(self.filename)

    def open(self) -> BinaryIO:
        """Opens it for reading bytes."""
        return self.path.open("rb")

    def __fspath__(self) -> str:
        return os.fspath(self.filename)


class HeldFile(UploadedFile):
    """A small one, which is in memory. Who asks for its path gets a file of this content there."""

    def __init__(
        self, name: str, path: str, content_type: str, original_filename: str, content: bytes
    ) -> None:
        self.__dict__.update(
            name=name,
            content_type=content_type,
            original_filename=original_filename,
            size=len(content),
            _place=path,
            _content=content,
            _written=False,
        )

    @property
    def filename(self) -> str:
        place: str = self.__dict__["_place"]
        if not self.__dict__["_written"]:
            try:
                Path(place).parent.mkdir(mode=0o700, exist_ok=True)
                Path(place).write_bytes(self.__dict__["_content"])
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):  # the server's, not the model's
                    raise DiskFull() from error
                raise
            self.__dict__["_written"] = True
        return place

    def open(self) -> BinaryIO:
        """Opens it for reading bytes; no file is made for that."""
        if self.__dict__["_written"]:  # and maybe changed since
            return self.path.open("rb")
        return io.BytesIO(self.__dict__["_content"])


@dataclass
class ReturnedFile:
    """An answer that is a file: its bytes, its path, or an open binary file.

    `content_type` is told to the client; `filename` is the name offered for saving it.
    """

    content: bytes | str | os.PathLike[str] | BinaryIO
    content_type: str = "application/octet-stream"
    filename: str | None = None


class InvalidData(Exception):
    """Raised by a plugin in train(), before its first step, when the data cannot be used.

    Ends the run with reason `invalid_data`. `file` and `line` (from 1) say where the fault is;
    `message` is without them.
    """

    def __init__(self, message: str, file: Any = None, line: int | None = None) -> None:
        where = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(where + message)
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line


def uploaded_file(name: str, part: FilePart) -> UploadedFile:
    """The file that a plugin gets for a part of a request."""
    filename = _last_part(part.filename)
    if part.content is not None:
        return HeldFile(name, part.path, part.content_type, filename, part.content)
    return UploadedFile(name, part.path, part.content_type, filename, part.size)


def _last_part(name: str) -> str:
    """The client's name of a file without folders (RFC 7578, section 4.2).

    Many plugins copy the file to `folder + "/" + original_filename`: a client's "../" would lead
    them out of it.
    """
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    return "file" if last in ("", ".", "..") else last
