"""Sessions of browsers that have signed in with a key. Kept in memory: they end with the server.

A session is for a key and never more than it: who has revoked the key has ended its sessions. The
cookie is `HttpOnly` and `SameSite=Strict`; what is kept of it is its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from urllib.parse import quote

from aiohttp import web

from ...errors import NotPermitted
from ..services import services
from .gate import Gate
from .principal import Principal

COOKIE = "modelyard_session"
LASTS_S = 12 * 3600
_MOST = 10_000
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Sessions:
    """Those of one application; beyond 10,000 the oldest ends."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def begin(self, key_id: str) -> str:
        """A new session for the holder of this key: the cookie's value."""
        text = secrets.token_urlsafe(32)
        self._open[_digest(text)] = (key_id, time.monotonic() + LASTS_S)
        while len(self._open) > _MOST:
            self._open.popitem(last=False)
        return text

    def end(self, text: str) -> None:
        """It opens nothing any more."""
        self._open.pop(_digest(text), None)

    def holder(self, request: web.Request, gate: Gate) -> Principal | None:
        """Who sends the request, by its cookie; None: it has no session.

        Raises NotPermitted for a request that changes something and does not say which site it
        comes from, as every browser does: the guard has nothing to compare then.
        """
        text = request.cookies.get(COOKIE)
        key_id, until = self._open.get(_digest(text), ("", 0.0)) if text else ("", 0.0)
        principal = gate.holder_of(key_id) if time.monotonic() < until else None
        told = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
        if principal is not None and request.method not in _SAFE and not told:
            raise NotPermitted(
                "A request with a session's cookie has to say by Origin or Sec-Fetch-Site which "
                "site it comes from; a program sends `Authorization: Bearer KEY`."
            )
        return principal


def sent_to_sign_in(request: web.Request) -> web.HTTPSeeOther:
    """For a person's browser that has no session: to the form, and back afterwards."""
    there = services(request).url("/sign-in")
    return web.HTTPSeeOther(f"{there}?next={quote(str(request.rel_url), safe='/')}")


SESSIONS = web.AppKey("sessions", Sessions)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
