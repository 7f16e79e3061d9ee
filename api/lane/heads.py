"""The heads of requests that any reader of HTTP reads alike; all others are not ours. Pure.

A strict part of RFC 9112: CRLF, names that are tokens, each header once, printable ASCII, one
Content-Length in digits, and no more of anything than all requests may have. There is no guessing:
what does not fit is left to the framework's parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..guard import LONGEST_TYPE

LONGEST = 8000
"""Bytes of a head that is looked at: no line of it is beyond the 8190 that the framework takes."""
_MOST = 100
"""Headers of one; the framework has 128."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_LENGTH = re.compile(r"[0-9]{1,10}")
_ELSEWHERE = frozenset(
    {
        "transfer-encoding", "content-encoding", "expect", "upgrade", "te", "trailer", "origin",
        "cookie", "sec-fetch-site", "proxy-connection",
    }
)  # fmt: skip
"""Headers that ask for more than reading and answering."""


@dataclass(frozen=True)
class Head:
    """A request to `target` whose body has `length` bytes. `headers` have lower-case names."""

    target: str
    headers: dict[str, str]
    length: int
    keeps_alive: bool

    @property
    def content_type(self) -> str:
        """Without parameters, lower-case; of a request that names none, as RFC 9110 has it."""
        kind = self.headers.get("content-type", "application/octet-stream")
        return kind.partition(";")[0].strip().lower()


def read_post(head: bytes) -> Head | None:
    """A POST's head, its last empty line included; None if it is anything else."""
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    if lines[-2:] != ["", ""] or len(head) > LONGEST or len(lines) - 2 > _MOST:
        return None
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if method != "POST" or version != "HTTP/1.1" or _TARGET.fullmatch(target) is None:
        return None
    headers: dict[str, str] = {}
    for line in lines[:-2]:
        name, colon, value = line.partition(":")
        value = value.strip(" ")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            return None
        name = name.lower()
        if name in headers or name in _ELSEWHERE:
            return None
        headers[name] = value
    length = headers.get("content-length", "")
    connection = headers.get("connection", "keep-alive").lower()
    if len(headers.get("content-type", "")) > LONGEST_TYPE:
        return None
    if "host" not in headers or _LENGTH.fullmatch(length) is None:
        return None
    if connection not in ("keep-alive", "close"):
        return None
    return Head(target, headers, int(length), connection == "keep-alive")
