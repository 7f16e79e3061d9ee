"""Who may call, before any routing: the Host that was asked for, and calls from other web sites.

Host allow-list against DNS rebinding, on every request and method; what a browser sends from
elsewhere is `sites.py`'s. Rules: DESIGN "Access off loopback" and "Cross-site requests", told in
ARCHITECTURE.md.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from ..settings import Settings
from .errors import problem
from .expecting import unasked
from .heads import refusal as refusal_of_head
from .services import SERVICES
from .sites import Sites

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LONGEST_TYPE = 1000
"""Characters of a Content-Type: what reads it takes time by the square of its length, for 8 kB most
of a second."""
BROWSERS = ("origin", "sec-fetch-site", "cookie", "accept-language")
"""Headers that tell of a browser, in lower case. What a page reads over plain http, from a name
that it has had lead here, has none of the first three. The last goes with every request of a
browser: no page can leave it out, though it may be empty."""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""What a browser may do with an answer that it shows as a page (CSP): a model's HTML or SVG runs no
script on this site, and fetches nothing. Our own pages have policies of theirs."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


def guard(settings: Settings) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that lets through what names this server and does not come from another site,
    unless that is one of the allowed."""
    hosts, sites = Hosts(settings), Sites(settings)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = refusal_of_head(request)
        if refused is not None:
            return _last(problem(*refused))
        browser = any(name in request.headers for name in BROWSERS)
        refusal = hosts.refusal(request.headers.get("Host", ""), browser)
        if refusal is not None:
            return _last(problem(421, refusal))
        if len(request.headers.get("Content-Type", "")) > LONGEST_TYPE:
            return _last(problem(431, f"Content-Type has more than {LONGEST_TYPE} characters."))
        if _is_elsewhere(request):
            return _last(problem(400, "A request to this server names a path of it."))
        if sites.asks(request):
            return sites.permission(request)
        refusal = sites.refusal(request)
        if refusal is not None:
            return problem(403, refusal)
        return await handler(request)

    return check


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: headers of every answer, errors, redirects and streams too."""
    stopping = SERVICES in request.app and request.app[SERVICES].stopping.is_set()
    # Of a body that nobody asked for nobody knows whether it comes: what follows may be it.
    if stopping or unasked(request):
        response.force_close()
        response.headers["Connection"] = "close"  # the framework has looked already
    response.headers["Server"] = "modelyard"  # not the framework's, which tells versions
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


class Hosts:
    """The names that this server answers to."""

    def __init__(self, settings: Settings) -> None:
        own = ["localhost", socket.gethostname().lower()]
        if settings.public_url is not None:
            own.append(urlsplit(settings.public_url).hostname or "")
        self._names = {*own, *(host.lower() for host in settings.allowed_hosts)}
        self._open = settings.access == "open"

    def refusal(self, header: str, browser: bool) -> str | None:
        """Why a request with this Host header is not answered; None: it is.

        `browser`: a browser may have sent it, as `BROWSERS` tell.
        """
        host = _hostname(header)
        if host is None:
            return "The Host header is missing or malformed."
        if host in self._names or host.endswith(".localhost") or _is_ip(host):
            return None
        if self._open and not browser:
            return None
        return (
            f"This server does not answer to the name {host[:200]!r}. "
            "Start it with --allowed-hosts to allow that name."
        )


def _last(response: web.Response) -> web.Response:
    """It ends its connection: whoever meant another server has more to say to that one."""
    response.force_close()
    return response


def _is_elsewhere(request: web.Request) -> bool:
    """True for a tunnel, and for an address in full of another host than the header names."""
    path = request.raw_path
    if request.method == "CONNECT":
        return True
    if path.startswith("/") or path == "*":
        return False
    try:
        parts = urlsplit(path)
    except ValueError:
        return True
    elsewhere = parts.netloc.lower() != request.headers.get("Host", "").lower()
    return elsewhere or parts.scheme.lower() not in ("http", "https")


def _hostname(header: str) -> str | None:
    """The name in a Host header, lower-case, without port and brackets."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018  a bad port raises here
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.netloc != header:
        return None  # a path, a query or a fragment would go on in addresses that we give
    if header.startswith("[") and header.partition("]")[2].partition(":")[0]:
        return None  # more of a name than that number
    return parts.hostname.lower().rstrip(".")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
