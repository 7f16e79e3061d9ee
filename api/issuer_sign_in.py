"""`/sign-in/start` and `/sign-in/callback`: a browser goes to the issuer, and comes back with a
code (`access/code_flow.py`)."""

from __future__ import annotations

from html import escape

from aiohttp import web

from ..errors import IssuerUnavailable
from .access.code_flow import BEGUN_S, CodeFlow, SignInRefused
from .services import root_of, services
from .sign_in import a_page, begin_session, flow_of, form, is_https, path_after

_COOKIE = "modelyard_signing_in"
_BACK = '<p>You are signed in as <b>{name}</b>.</p><p><a href="{next}">Go on</a></p>'
_ON = """<meta http-equiv="refresh" content="0; url={next}">
<meta name="referrer" content="no-referrer">"""


async def start(request: web.Request) -> web.StreamResponse:
    """Sends the browser to the issuer."""
    here, flow = services(request), _flow(request)
    after = path_after(here, request.query.get("next", ""))
    try:
        begun = await flow.begin(f"{root_of(request)}/sign-in/callback", after)
    except IssuerUnavailable as error:
        return form(here, after, error.message, 503)
    answer = web.Response(
        status=303, headers={"Location": begun.address, "Cache-Control": "no-store"}
    )
    answer.set_cookie(
        _COOKIE,
        begun.cookie,
        max_age=BEGUN_S,
        path=here.url("/sign-in"),
        httponly=True,
        samesite="Lax",  # the browser comes back from another site, and has to bring it
        secure=is_https(request),
    )
    return answer


async def callback(request: web.Request) -> web.StreamResponse:
    """Begins a session if the issuer says who it is.

    The page then sends the browser on by itself: after a redirect from another site it would not
    show the session's cookie, which is `SameSite=Strict`.
    """
    here, flow = services(request), _flow(request)
    about = {"peer": request.remote, "method": "GET", "route": here.url("/sign-in/callback")}
    after = here.url("/ui/")
    try:
        if len(request.query) > len(set(request.query.keys())):
            raise SignInRefused("The issuer's answer tells something twice.")
        sent, cookie = dict(request.query), request.cookies.get(_COOKIE, "")
        signed_in, principal, after = await flow.finish(sent, cookie, request.remote or "")
    except (SignInRefused, IssuerUnavailable) as error:
        status = 503 if isinstance(error, IssuerUnavailable) else 403
        await here.trail.refused(None, **about, status=status, why="not-signed-in")
        return form(here, after, f"You are not signed in. {error}", status)
    await here.trail.signed_in(principal, **about, status=200)
    after = escape(path_after(here, after), quote=True)
    name = escape(principal.label or principal.name)
    answer = a_page(_BACK.format(name=name, next=after), 200, _ON.format(next=after))
    begin_session(request, answer, principal.name, signed_in.holder)
    answer.del_cookie(_COOKIE, path=here.url("/sign-in"))
    return answer


def _flow(request: web.Request) -> CodeFlow:
    flow = flow_of(services(request))
    if flow is None:
        raise web.HTTPNotFound
    return flow
