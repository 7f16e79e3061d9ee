"""Who may call, before any routing: the Host that was asked for, and calls from other web sites.

Host allow-list against DNS rebinding, on every request and method; unsafe methods that a browser
sends from elsewhere are refused by `Sec-Fetch-Site` and `Origin`. Media types are no part of the
check. Rules: DESIGN "Access off loopback" and "Cross-site requests", told in ARCHITECTURE.md.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

from .errors import problem
from .services import SERVICES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BROWSERS = ("Origin", "Sec-Fetch-Site", "Cookie")
"""Headers that tell of a browser."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


def guard(
    allowed_hosts: Iterable[str], open_access: bool
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that lets through what names this server and does not come from another site."""
    hosts = Hosts(allowed_hosts, open_access)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        browser = any(name in request.headers for name in BROWSERS)
        refusal = hosts.refusal(request.headers.get("Host", ""), browser)
        if refusal is not None:
            return _last(problem(421, refusal))
        if _is_elsewhere(request):
            return _last(problem(400, "A request to this server names a path of it."))
        refusal = _refuse_site(request)
        if refusal is not None:
            return problem(403, refusal)
        return await handler(request)

    return check


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: headers of every answer, errors, redirects and streams too."""
    if SERVICES in request.app and request.app[SERVICES].stopping.is_set():
        response.force_close()
        response.headers["Connection"] = "close"  # the framework has looked already
    response.headers["Server"] = "modelyard"  # not the framework's, which tells versions
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


class Hosts:
    """The names that this server answers to."""

    def __init__(self, allowed: Iterable[str], open_access: bool) -> None:
        own = ("localhost", socket.gethostname().lower())
        self._names = {*own, *(host.lower() for host in allowed)}
        self._open = open_access

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
    return urlsplit(path).netloc.lower() != request.headers.get("Host", "").lower()


def _refuse_site(request: web.Request) -> str | None:
    if request.method in SAFE or request.headers.get("Authorization", "").startswith("Bearer "):
        return None
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return "A page of another site may not do this (Sec-Fetch-Site)."
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers["Host"].lower():
        return "A page of another site may not do this (Origin)."
    return None


def _hostname(header: str) -> str | None:
    """The name in a Host header, lower-case, without port and brackets."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018  a bad port raises here
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path:
        return None
    return parts.hostname.lower().rstrip(".")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
