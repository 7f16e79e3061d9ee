"""Other web sites: which may do something here, and what their browsers are told (CORS).

An unsafe method that a browser sends for a page of another site is refused by `Sec-Fetch-Site` and
`Origin`, unless the site is one of `allowed_origins`. Media types are no part of the check. Without
that setting no answer has a header of CORS, so that no other page reads one. Runs in the front.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from aiohttp import web

from ..settings import Settings
from ..settings.http import ANY_ORIGIN
from .heads import listed

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_SHOWN = "Content-Disposition, ETag, Link, Location, Retry-After, X-Modelyard-Weights"
"""Headers of answers that pages of other sites may read, beside those that they always may."""
_REMEMBERED_S = 600
_SITE = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#@\s]+)")
"""An origin as browsers write it (RFC 6454, section 6.2)."""


class Sites:
    """Those that are allowed, beside our own."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(settings.allowed_origins)
        self._any = ANY_ORIGIN in self._allowed
        own = settings.public_url
        self._own = None if own is None else "{0.scheme}://{0.netloc}".format(urlsplit(own)).lower()

    def refusal(self, request: web.Request) -> str | None:
        """Why the request is not answered; None: it is."""
        headers = request.headers
        if request.method in SAFE or headers.get("Authorization", "")[:7].lower() == "bearer ":
            return None
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if site in ("same-origin", "none") and (origin is None or self._is_own(request, origin)):
            return None
        if origin is not None and self._is_allowed(request, origin):
            return None
        if site is not None and site not in ("same-origin", "none"):
            return f"A page of another site may not do this (Sec-Fetch-Site). {_REMEDY}"
        if origin is not None and not self._is_own(request, origin):
            return f"A page of another site may not do this (Origin). {_REMEDY}"
        return None

    def asks(self, request: web.Request) -> bool:
        """True for the question of a browser before it sends what a page of another site wants."""
        return (
            bool(self._allowed)
            and request.method == "OPTIONS"
            and "Origin" in request.headers
            and "Access-Control-Request-Method" in request.headers
        )

    def permission(self, request: web.Request) -> web.Response:
        """The answer to it; its headers are `share`'s."""
        response = web.Response(status=204)
        if self._is_listed(request.headers["Origin"]):
            wanted = listed(request, "Access-Control-Request-Headers")
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = wanted
            response.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)
        return response

    async def share(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `on_response_prepare`: lets pages of allowed sites read the answer.

        With `*` never as the user who is signed in here: no credentials.
        """
        if not self._allowed:
            return
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is None or not self._is_listed(origin):
            return
        named = origin.lower() in self._allowed
        response.headers["Access-Control-Allow-Origin"] = origin if named else ANY_ORIGIN
        response.headers["Access-Control-Expose-Headers"] = _SHOWN
        if named:
            response.headers["Access-Control-Allow-Credentials"] = "true"

    def _is_listed(self, origin: str) -> bool:
        return self._any or origin.lower() in self._allowed

    def _is_allowed(self, request: web.Request, origin: str) -> bool:
        """Of `*` not with a cookie: whose it is, it does not tell."""
        if origin.lower() in self._allowed:
            return True
        return self._any and "Cookie" not in request.headers

    def _is_own(self, request: web.Request, origin: str) -> bool:
        """By the name that the client called us by, and by that of `public_url`."""
        origin = origin.lower()
        if self._own is not None and origin == self._own:
            return True
        match = _SITE.fullmatch(origin)
        if match is None or (request.secure and match["scheme"] != "https"):
            return False
        # Not the other way round: a proxy may have taken the TLS off without telling us.
        return match["host"] == request.headers["Host"].lower()


_REMEDY = "The server allows it to the sites of --allowed-origins."
