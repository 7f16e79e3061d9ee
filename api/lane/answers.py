"""Answers as bytes: the same status lines and headers that the framework would write. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from ..errors import Told
from ..guard import HEADERS

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
_OWN = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()) + "Server: modelyard\r\n"


def begin(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and the headers that do not depend on the body.

    Raises ValueError for a header that would be two, or none.
    """
    known = status in HTTPStatus._value2member_map_
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else ''}\r\n"]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"not a header: {name[:100]!r}: {value[:100]!r}")
        lines.append(f"{name}: {value}\r\n")
    lines.append(_OWN)
    return "".join(lines).encode("latin-1")


def whole(told: Told) -> bytes:
    """An error as the last answer of a connection."""
    headers = {
        "Content-Type": told.content_type,
        "Content-Length": str(len(told.body)),
        **told.headers,
        "Connection": "close",
        "Date": formatdate(usegmt=True),
    }
    return begin(told.status, headers) + b"\r\n" + told.body


class Clock:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._line
