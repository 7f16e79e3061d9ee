"""Tells and stores results as DEEPaaS's command does; files of any kind are stored as they are.

Python 3.8 syntax.
"""

from __future__ import annotations

import json
import mimetypes
import os
import shutil
from pathlib import Path
from typing import Any

from .. import answers
from ..answers import JSON, json_value
from ..deepaas.results import file_answer
from ..plugin import Answer
from .logs import LOG


class Output:
    """The file that a method's result is to be written to, if any. `folder` is where it starts."""

    def __init__(self, path: str | None, folder: str) -> None:
        self._path = path
        self._folder = folder

    def metadata(self, value: Any) -> None:
        text = json.dumps(value)
        if self._path:
            self._store(self._path, text.encode())
        LOG.info("return: %s", text)

    def prediction(self, result: Any, wanted: str, scratch: Path) -> None:
        """`wanted` is the content type that was asked for; `scratch` a folder that will go."""
        file = _file(result, wanted, scratch)
        if self._path is None:
            LOG.info("return: %s", _told(result, file))
            return
        if file is None:
            stored = self._store(self._named(JSON), json.dumps(json_value(result)).encode())
        elif file.path is not None:
            stored = self._store(self._named(file.content_type), Path(file.path))
        else:
            stored = self._store(self._named(file.content_type), file.body)
        LOG.info("return: Output is saved in %s", stored)

    def training(self, record: Any) -> None:
        text = json.dumps(json_value(record))
        if self._path:
            self._store(self._path, text.encode())
            LOG.info("return: Output is saved in %s", self._path)
        else:
            LOG.info("return: %s", text)

    def _named(self, content_type: str) -> str:
        """The path with the content type's suffix at its end, as DEEPaaS names it."""
        assert self._path is not None
        suffix = mimetypes.guess_extension(content_type.partition(";")[0])
        given = os.path.splitext(self._path)[1]  # noqa: PTH122 - the path as it was written
        if suffix is None or suffix == given:
            return self._path
        named = self._path + suffix
        LOG.warning(
            "You are trying to store %s type data in the file with %s extension!\n"
            "===================> New output is %s",
            *(suffix, given, named),
        )
        return named

    def _store(self, path: str, content: bytes | Path) -> str:
        target = Path(self._folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
        return path


def _file(result: Any, wanted: str, scratch: Path) -> Answer | None:
    """The result as a file, if it is one; None if it is a value."""
    file = file_answer(result, wanted, scratch)
    return file if file is not None else answers.file_answer(result, None, scratch)


def _told(result: Any, file: Answer | None) -> Any:
    if file is None or isinstance(result, str):
        return result
    size = len(file.body) if file.path is None else Path(file.path).stat().st_size
    return f"<{size} bytes of {file.content_type}: --deepaas_method_output FILE stores them>"
