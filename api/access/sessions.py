"""Sessions of browsers that have signed in. Kept in memory: they end with the server.

A session is for a key, or a token of the issuer, and never more than that: who has revoked the key
has ended its sessions, and a token that the issuer does not renew ends them when it expires. The
cookie is `HttpOnly` and `SameSite=Strict`; what is kept of it is its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import web

from ...errors import NotPermitted
from ..services import services
from .principal import Principal

COOKIE = "modelyard_session"
LASTS_S = 12 * 3600
_MOST = 10_000
_MOST_EACH = 1_000
"""Of one caller: who signs in again and again puts out nobody else."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


Holder = Callable[[], Awaitable[Principal | None]]
"""Whose a session is at present; None: it has ended."""


class _Session(NamedTuple):
    whose: str
    holder: Holder
    until_s: float


class Sessions:
    """Those of one application; beyond 10,000 the oldest ends, and of one caller beyond 1,000."""

    def __init__(self, lasts_s: float = LASTS_S) -> None:
        self._lasts_s = lasts_s
        self._open: OrderedDict[str, _Session] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def begin(self, whose: str, holder: Holder) -> str:
        """A new session of the caller of this name: the cookie's value."""
        text = secrets.token_urlsafe(32)
        if self._counts[whose] >= _MOST_EACH:
            self._drop(next(one for one, session in self._open.items() if session.whose == whose))
        self._open[_digest(text)] = _Session(whose, holder, time.monotonic() + self._lasts_s)
        self._counts[whose] += 1
        while len(self._open) > _MOST:
            self._drop(next(iter(self._open)))
        return text

    def end(self, text: str) -> None:
        """It opens nothing any more."""
        self._drop(_digest(text))

    def _drop(self, digest: str) -> None:
        session = self._open.pop(digest, None)
        if session is not None:
            self._counts[session.whose] -= 1
            if not self._counts[session.whose]:
                del self._counts[session.whose]

    async def holder(self, request: web.Request) -> Principal | None:
        """Who sends the request, by its cookie; None: it has no session.

        Raises NotPermitted for a request that changes something and does not say which site it
        comes from, as every browser does: the guard has nothing to compare then. Raises
        IssuerUnavailable.
        """
        text = request.cookies.get(COOKIE)
        session = self._open.get(_digest(text)) if text else None
        if session is None or text is None:
            return None
        in_time = time.monotonic() < session.until_s
        principal = await session.holder() if in_time else None
        if principal is None:
            self.end(text)
            return None
        told = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
        if request.method not in _SAFE and not told:
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
