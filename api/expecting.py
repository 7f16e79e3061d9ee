"""`Expect: 100-continue`: a client that asks whether it should send its body (RFC 9110).

The framework would say yes before anybody has looked who asks and for what. Here it is said when
the body is read for the first time: whoever is refused before that has not sent it. Any other
expectation is none that can be met. Runs in the front.
"""

from __future__ import annotations

from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_MET = "100-continue"
EXPECTS = web.RequestKey("expects", list[str])
"""What a request expects, in lower case; empty when that was met."""


def set_aside(message: RawRequestMessage) -> tuple[RawRequestMessage, list[str]]:
    """The head without its expectations, so that the framework meets none, and these.

    Of HTTP/1.0 none is heard, as the RFC has it.
    """
    if "Expect" not in message.headers:  # nearly always
        return message, []
    headers = message.headers.copy()
    text = ",".join(headers.popall("Expect")).lower()
    without: Any = message._replace(headers=type(message.headers)(headers))
    if message.version < HttpVersion11:
        return without, []
    return without, [one.strip() for one in text.split(",") if one.strip()]


def unmet(request: web.BaseRequest) -> str | None:
    """Why a request is refused for what it expects; None: it is not."""
    strange = [one for one in request.get(EXPECTS, ()) if one != _MET]
    if not strange:
        return None
    return (
        f"Expect: {strange[0][:100]!r} is no expectation that this server meets: only {_MET} is. "
        "Send the request without this header."
    )


def unasked(request: web.BaseRequest) -> bool:
    """True while a client may not have sent its body, because nobody told it to go on."""
    return bool(request.get(EXPECTS)) and not request.content.is_eof()


def go_on(request: web.BaseRequest) -> None:
    """The body is wanted now. To be called by whoever reads one."""
    if unasked(request) and request.transport is not None:
        request.transport.write(_GO_ON)
    if EXPECTS in request:
        request[EXPECTS] = []
