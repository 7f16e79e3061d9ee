"""Asks of every request who sends it and whether they may, before its handler runs.

What each route needs is part of its declaration (`schemas/routes.py`); an address that is none of
ours needs a key like any other, so that nobody without one learns what there is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from ...errors import IssuerUnavailable, ModelyardError, NotPermitted, NotSignedIn
from ...schemas.permissions import Permission
from ..errors import kind_of, status_of
from ..heads import for_logs, listed
from ..metrics import route_of
from ..services import services
from .deeds import DONE
from .principal import PRINCIPAL, Principal
from .sessions import SESSIONS, sent_to_sign_in

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_AUDITED = frozenset({Permission.TRAIN, Permission.MANAGE})
_OBJECTS = ("id", "alias", "name", "number", "format")
"""Parts of a path that name what is changed; a share's token is none."""
_MADE = re.compile(r"/([0-9a-f]{32})\Z")
_UPLOAD_S = 3600.0
"""For so long what comes is taken of who has shown a token: those may last five minutes, and what
is sent with one longer."""


class Asked(NamedTuple):
    """When it was asked who sends a request: the gate's generation, and the monotonic clock."""

    generation: int
    at_s: float


ASKED = web.RequestKey("asked", Asked)


class Needs(NamedTuple):
    """What a route asks for; `permission` None: nothing. `every_model`: it tells of all models.
    `page`: people open it, so a browser without a session is sent to sign in."""

    permission: Permission | None
    every_model: bool = False
    page: bool = False


PUBLIC = Needs(None)
NEEDS = web.AppKey("needs", Mapping[web.AbstractRoute, Needs])
"""By the route as the framework found it; filled where routes are added."""


@web.middleware
async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises NotSignedIn and MissingPermission; writes the audit log."""
    needs = request.config_dict[NEEDS].get(request.match_info.route)
    principal = await admit(request, needs)
    try:
        if principal is None or needs is None or needs.permission not in _AUDITED:
            return await handler(request)
        if request.method in _SAFE:
            return await handler(request)
        return await _audited(request, handler, principal)
    except (NotSignedIn, NotPermitted) as error:  # what it names asks for more than its route does
        await _refused(request, principal, error)
        raise


async def admit(request: web.Request, needs: Needs | None) -> Principal | None:
    """Who sends the request, if they may; None on a public address without a valid key.

    Raises NotSignedIn and MissingPermission, which are in the audit log then; `HTTPSeeOther` for a
    browser that opens a page and has said nothing of who it is.
    """
    principal: Principal | None = None
    request[ASKED] = Asked(services(request).gate.generation, time.monotonic())
    try:
        principal = await _sender(request, needs)
        if principal is not None:
            if needs is not None and needs.permission is not None:
                principal = principal.acting(needs.permission)
            request[PRINCIPAL] = principal
        if needs is not None and needs.permission is not None and principal is not None:
            _check(principal, needs, request.match_info.get("model"))
    except (NotSignedIn, NotPermitted) as error:
        if needs is not None and needs.page and _may_sign_in(request, error):
            raise sent_to_sign_in(request) from None
        await _refused(request, principal, error)
        raise
    return principal


async def confirm(request: web.Request) -> None:
    """Asks again, for who has read a body: it may have come for hours, and its sender's key be
    revoked since. Raises NotSignedIn, MissingPermission and IssuerUnavailable.
    """
    principal = request.get(PRINCIPAL)
    needs = request.config_dict[NEEDS].get(request.match_info.route)
    if principal is None or needs is None or needs.permission is None:
        return
    asked = request[ASKED]
    if principal.shown == "token" and time.monotonic() - asked.at_s < _UPLOAD_S:
        return
    same = asked.generation == services(request).gate.generation
    if same and "Authorization" in request.headers:
        return
    now = await _sender(request, needs)
    if now is not None:
        _check(now.acting(needs.permission), needs, request.match_info.get("model"))


async def _refused(
    request: web.Request, principal: Principal | None, error: ModelyardError
) -> None:
    if (status := status_of(error)) in (401, 403):  # not 402: that is switched off for everybody
        told = _told(request, status)
        await services(request).trail.refused(principal, **told, why=kind_of(error))


def _may_sign_in(request: web.Request, error: Exception) -> bool:
    if not isinstance(error, NotSignedIn) or error.presented or request.method != "GET":
        return False
    return "text/html" in listed(request, "Accept")


async def _sender(request: web.Request, needs: Needs | None) -> Principal | None:
    """Who sends it; None on a public address to which no valid key was sent."""
    gate = services(request).gate
    public = needs is not None and needs.permission is None
    sent = request.headers.getall("Authorization", [])
    if not sent and gate.closed:
        try:
            holder = await request.config_dict[SESSIONS].holder(request)
        except IssuerUnavailable:
            if not public:
                raise
            holder = None
        if holder is not None:
            return holder
    if public:
        return await gate.known(sent)
    return await gate.admitted(sent, request.remote or "")


def _check(principal: Principal, needs: Needs, model: str | None) -> None:
    assert needs.permission is not None
    principal.check(needs.permission)
    if model is not None:
        principal.check_model(model)
    if needs.every_model:
        principal.check_every_model()


async def _audited(
    request: web.Request, handler: Handler, principal: Principal
) -> web.StreamResponse:
    status, response = 499, None  # a client that hangs up changes nothing of what has begun
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as error:
        status = error.status
        raise
    except ModelyardError as error:
        status = status_of(error)
        raise
    except Exception:
        status = 500
        raise
    finally:
        more: dict[str, Any] = {}
        if response is None and status == 499:
            response = request.get(DONE)
            more = {} if response is None else {"done": True}
        if response is not None and (made := _MADE.search(response.headers.get("Location", ""))):
            more["made"] = made[1]
        await services(request).trail.changed(principal, **_told(request, status), **more)


def _told(request: web.Request, status: int) -> dict[str, Any]:
    """Where it went, as far as it is no secret: never a query string, an argument or a token."""
    parts = request.match_info
    objects = {name: for_logs(parts[name]) for name in ("model", *_OBJECTS) if name in parts}
    return {
        "peer": request.remote,
        "method": request.method,
        "route": route_of(request),
        **objects,
        "status": status,
    }
