"""Heads that could mean two things: what may stand in one once, and how a body may be framed.

A proxy before us, or a library in it, picks the first of two headers of a name, another one the
last. So what is no list (RFC 9110, 5.3) may stand once, whatever it says; what is one is read as a
whole. And a body comes as it is, or in chunks: who did not undo another transfer coding would not
know where the body ends (RFC 9112, 6.1). The lane hands all of these to the framework, so here is
the one place. Runs in the front.
"""

from __future__ import annotations

from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http import RawRequestMessage

from .expecting import unmet

ONCE = frozenset(
    {
        b"access-control-request-method", b"authorization", b"content-length", b"content-type",
        b"cookie", b"host", b"idempotency-key", b"if-modified-since", b"if-range",
        b"if-unmodified-since", b"inference-header-content-length", b"last-event-id", b"origin",
        b"range", b"referer", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site",
        b"user-agent", b"x-request-timeout",
    }
)  # fmt: skip
"""Headers that may stand in a head once, in lower case."""
OURS = b"x-modelyard-"
"""So begin the others: all those of our own."""
_LONGEST_NAME = 100
"""Characters that the name of a model may have."""
STRANGE = web.RequestKey("strange", str)
"""The version of HTTP that a request is of, if we do not speak it."""


def in_our_version(message: RawRequestMessage) -> tuple[RawRequestMessage, str | None]:
    """The head, and its version if that is none of ours: the framework would answer as HTTP/2.0, in
    the words of 1.1. Such a head is given as one of 1.1, and is to be refused."""
    version = message.version
    if version in (HttpVersion10, HttpVersion11):
        return message, None
    known: Any = message._replace(version=HttpVersion11)
    return known, f"{version.major}.{version.minor}"


def listed(request: web.BaseRequest, name: str) -> str:
    """A header that is a list, as one line, however many it came in; empty: it did not come."""
    return ", ".join(request.headers.getall(name, []))


def for_logs(name: str) -> str:
    """A name that a client gave, as the logs get it: of 8 kB that are none, each line would push
    out many others."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def refusal(request: web.BaseRequest) -> tuple[int, str] | None:
    """Status and words for a head that is not taken, and whose connection is to end; None: it is.

    Costs a few microseconds, and the lane's calls nothing.
    """
    if STRANGE in request:
        return 400, f"This server speaks HTTP/1.1 and 1.0, not {request[STRANGE]}."
    names = [name.lower() for name, _ in request.raw_headers]
    if len(set(names)) < len(names):
        for name in dict.fromkeys(names):
            if names.count(name) > 1 and (name in ONCE or name.startswith(OURS)):
                told = name.decode("latin-1").title()
                return 400, f"The header {told} stands {names.count(name)} times: send it once."
    if b"transfer-encoding" in names:
        if request.version < HttpVersion11:
            return 400, "Transfer-Encoding is not of HTTP/1.0: send the body with Content-Length."
        codings = ",".join(request.headers.getall("Transfer-Encoding", [])).strip().lower()
        if codings != "chunked":
            return 501, (
                "The body has a transfer coding that this server does not know: send it with "
                "Transfer-Encoding: chunked alone, or with Content-Length."
            )
    told_unmet = unmet(request)
    return None if told_unmet is None else (417, told_unmet)
