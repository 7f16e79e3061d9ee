"""Encodes what a plugin returns: valid JSON from numpy, dates and NaN; bytes and files as they are.

Runs in the worker (and the run process), so that the front passes bytes through. numpy and orjson
are used where they are; neither is needed. Python 3.8 syntax.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import errno
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import ModuleType
from typing import Any

from ..clearing import make_folder
from ..errors import DiskFull, ModelyardError, PluginFailed, safe_str
from .plugin import Answer
from .refusals import plugin_code
from .values import ReturnedFile

try:
    import orjson
except ImportError:  # a model's own interpreter may lack it; the standard library does it too
    orjson = None  # type: ignore[assignment]

JSON = "application/json"
STREAMED_FROM = 1 << 20
"""Bytes from which an answer goes through a file of the call's folder, not through the socket."""
_LONGEST_TYPE, _LONGEST_NAME = 1000, 255  # characters: they go into the head of the answer
_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+*-]+[\x20-\x7e]*", re.ASCII)  # RFC 9110, 8.3


def json_bytes(value: Any) -> bytes:
    """Valid JSON in UTF-8: numpy values become numbers and lists, dates ISO 8601, NaN null.

    Raises PluginFailed, naming the type, for what has no JSON form, and what an iterator raises.
    """
    forms = _Forms()
    try:
        if orjson is not None:
            options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
            try:
                return orjson.dumps(value, default=forms.of, option=options)
            except (TypeError, ValueError):
                # orjson refuses some things that have a JSON form, 65-bit integers and lone
                # surrogates among them: the slower encoder decides.
                if forms.failed is not None:
                    raise forms.failed from None
        return json.dumps(_plain(value, forms), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginFailed(
            f"The model returned something that has no JSON form: {error}",
            original_type=type(error).__name__,
        ) from error


def json_value(value: Any) -> Any:
    """The same as plain Python values: what reading `json_bytes` gives."""
    return json.loads(json_bytes(value))


def json_answer(value: Any, folder: Path | str, limit: int = 0) -> Answer:
    """A JSON answer; a large one goes through a file in `folder`.

    Raises PluginFailed for one of more than `limit` bytes (0: no limit), as all here do.
    """
    return bytes_answer(json_bytes(value), JSON, folder, limit)


def head_of(answer: Answer) -> tuple[str, str | None]:
    """Content type and file name of an answer, as they may go into the head of HTTP's.

    Raises PluginFailed for what is no content type.
    """
    kind = str(answer.content_type)
    if len(kind) > _LONGEST_TYPE or _CONTENT_TYPE.fullmatch(kind) is None:
        raise PluginFailed(f"The model answered with {kind[:100]!r}, which is no content type.")
    name = answer.filename
    return kind, None if name is None else str(name)[-_LONGEST_NAME:]


def bytes_answer(body: bytes, content_type: str, folder: Path | str, limit: int = 0) -> Answer:
    """The same for bytes of any type."""
    if len(body) < STREAMED_FROM:
        return Answer(content_type, body)
    _check_size(len(body), limit)
    return Answer(content_type, path=_write(folder, lambda path: path.write_bytes(body)))


def file_answer(
    result: Any, content_type: str | None, folder: Path | str, limit: int = 0
) -> Answer | None:
    """The answer for a result that is a file (ReturnedFile, bytes, path, open file), else None.

    `content_type` is what the client asked for, used where the result does not say its own. A
    path's content is copied: the front streams from the call's folder and from nowhere else.
    """
    filename = None
    if isinstance(result, ReturnedFile) or (
        hasattr(result, "content_type") and hasattr(result, "content")
    ):
        content_type, filename = result.content_type, result.filename
        result = result.content
        if isinstance(result, str):
            result = Path(result)
    kind = content_type if content_type and content_type != JSON else "application/octet-stream"
    if isinstance(result, (bytes, bytearray, memoryview)):
        data = bytes(result)
        if len(data) < STREAMED_FROM:
            return Answer(kind, data, filename=filename)
        _check_size(len(data), limit)
        return Answer(kind, path=_write(folder, lambda p: p.write_bytes(data)), filename=filename)
    if isinstance(result, os.PathLike):
        source = Path(result)
        if not source.is_file():
            raise PluginFailed(f"The model returned a path that is no file: {source.name}")
        _check_size(source.stat().st_size, limit)
        path = _write(folder, lambda p: _copy_file(source, p))
        return Answer(kind, path=path, filename=filename or source.name)
    if is_open_file(result):
        path = _write(folder, lambda p: _copy(result, p, limit))
        return Answer(kind, path=path, filename=filename)
    return None


def is_open_file(value: Any) -> bool:
    """True for what can be read; not for a module or class that has a function of that name."""
    return not isinstance(value, (type, ModuleType)) and callable(getattr(value, "read", None))


def _write(folder: Path | str, write: Callable[[Path], Any]) -> str:
    path = Path(folder, f"answer-{uuid.uuid4().hex}")
    try:
        make_folder(path.parent)
        write(path)
    except ModelyardError:
        path.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # the server's fault, not the model's
            raise DiskFull() from error
        raise
    return str(path)


def _check_size(size: int, limit: int) -> None:
    if 0 < limit < size:
        raise PluginFailed(
            f"The model's answer has {size} bytes or more; {limit} are allowed (answer_max_size)."
        )


def _copy_file(source: Path, path: Path) -> None:
    try:
        shutil.copyfile(source, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PluginFailed(
            f"The file that the model returned cannot be read: {source.name} ({error.strerror})"
        ) from error


def _copy(source: Any, path: Path, limit: int) -> None:
    """Of an object of the model's, which may be anything that can be read, or says so."""
    size, doing = 0, "answering with a file"
    try:
        with plugin_code(doing):
            if hasattr(source, "seekable") and source.seekable():
                source.seek(0)  # DEEPaaS modules hand over buffers at their end
        with path.open("wb") as target:
            while True:
                with plugin_code(doing):
                    piece = source.read(1 << 20)
                if not piece:
                    break
                data = piece.encode() if isinstance(piece, str) else piece
                if not isinstance(data, (bytes, bytearray, memoryview)):
                    raise PluginFailed(
                        f"read() of the file that the model returned gave {type(data).__name__}, "
                        "neither bytes nor text."
                    )
                size += len(data)
                _check_size(size, limit)  # a file such as /dev/zero has no end
                target.write(data)
    finally:
        with plugin_code(doing):
            source.close()


class _Forms:
    """A JSON form one level down of what the JSON encoder does not know by itself.

    An iterator can be read only once, and the value may be encoded twice: what came is kept, and
    what it raises is the model's own failure, no matter of encoding. That orjson would hide, and
    what is left of the iterator would be taken for the whole.
    """

    def __init__(self) -> None:
        self.failed: BaseException | None = None
        self._read: dict[int, tuple[Any, list[Any]]] = {}

    def of(self, value: Any) -> Any:
        if id(value) in self._read:
            return self._read[id(value)][1]
        if hasattr(value, "__next__"):
            try:
                with plugin_code("answering"):
                    came = list(value)
            except BaseException as error:
                self.failed = error
                raise
            self._read[id(value)] = (value, came)  # with the value, so that its id stays its own
            return came
        return _jsonable(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (os.PathLike, uuid.UUID, complex, IPv4Address, IPv6Address)):
        return str(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {safe_str(value)}"
    if not isinstance(value, (type, ModuleType)):  # their attributes are no value's
        try:
            return _by_its_methods(value)
        except Exception as error:
            why = f"a value of type {type(value).__name__} ({safe_str(error)})"
            raise TypeError(why) from error
    raise TypeError(f"a value of type {type(value).__name__}")


def _by_its_methods(value: Any) -> Any:
    if callable(getattr(value, "detach", None)) and hasattr(value, "tolist"):
        return value.detach().cpu().tolist()  # a torch tensor, on any device
    for method in ("tolist", "to_dict", "_asdict"):  # numpy, pandas, named tuples
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(getattr(value, "history", None), dict):  # Keras' History, which fit() returns
        return {"history": value.history, "epoch": getattr(value, "epoch", None)}
    if hasattr(value, "__iter__"):
        return list(value)
    if hasattr(value, "__await__"):
        raise TypeError("its function is async, and is not awaited: write it without async")
    raise TypeError("it is neither a number, a text, a list nor a dict")


def _plain(value: Any, forms: _Forms) -> Any:
    """Plain values with NaN and infinities as None, for the standard encoder."""
    if value is None or (isinstance(value, (bool, int)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return _plain(value.value, forms)
    if isinstance(value, dict):
        return {str(_plain(key, forms)): _plain(item, forms) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
        return [_plain(item, forms) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value), forms)
    return _plain(forms.of(value), forms)
