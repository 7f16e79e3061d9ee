"""`/sign-in` and `/sign-out`: a browser shows a key once, and has a session from then on."""

from __future__ import annotations

from html import escape

from aiohttp import web

from ..errors import NotSignedIn
from .access.principal import NOBODY, Principal, principal_of
from .access.sessions import COOKIE, LASTS_S, SESSIONS
from .services import Services, services

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Modelyard: sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.3rem 0 1rem}}
[role=alert]{{color:#a00}}</style></head><body><main><h1>Modelyard</h1>{body}</main></body></html>
"""
_FORM = """{told}<form method="post" action="{action}" autocomplete="off">
<input type="hidden" name="next" value="{next}"><label for="key">Your key</label>
<input id="key" name="key" type="password" required autofocus autocomplete="off" spellcheck="false">
<button>Sign in</button></form>"""
_SIGNED_IN = """<p>You are signed in as <b>{name}</b>.</p><p><a href="{next}">Go on</a></p>
<form method="post" action="{action}"><button>Sign out</button></form>"""


async def page(request: web.Request) -> web.StreamResponse:
    """The form, or who is signed in."""
    here, principal = services(request), principal_of(request)
    after = _after(here, request.query.get("next", ""))
    if principal is NOBODY:
        return _form(here, after, "", 200)
    name = escape(principal.name.partition(":")[2] or "anybody")
    action = escape(here.url("/sign-out"), quote=True)
    return _page(_SIGNED_IN.format(name=name, next=escape(after, quote=True), action=action), 200)


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Begins a session if the key is valid; else the form again, with 401."""
    here, form = services(request), await request.post()
    key, after = form.get("key"), _after(here, str(form.get("next", "")))
    holder: Principal | None = None
    told = "This key is not valid."
    try:
        sent = key.strip() if isinstance(key, str) else ""
        shown = await here.gate.admitted([f"Bearer {sent}"], request.remote or "")
        holder = here.gate.holder_of(shown.credential)
    except NotSignedIn as error:
        told = error.message
    about = {"peer": request.remote, "method": "POST", "route": here.url("/sign-in")}
    if holder is None:
        await here.trail.refused(None, **about, status=401, why="not-signed-in")
        return _form(here, after, f'<p role="alert">{escape(told)}</p>', 401)
    await here.trail.changed(holder, **about, status=303)
    answer = web.Response(status=303, headers={"Location": after, "Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        request.config_dict[SESSIONS].begin(holder.credential),
        max_age=LASTS_S,
        path=here.settings.base_path or "/",
        httponly=True,
        samesite="Strict",
        secure=request.secure or (here.settings.public_url or "").startswith("https:"),
    )
    return answer


async def sign_out(request: web.Request) -> web.StreamResponse:
    """Ends the session, here and in the browser."""
    here = services(request)
    request.config_dict[SESSIONS].end(request.cookies.get(COOKIE, ""))
    answer = web.Response(status=303, headers={"Location": here.url("/sign-in")})
    answer.del_cookie(COOKIE, path=here.settings.base_path or "/")
    return answer


def _after(here: Services, wanted: str) -> str:
    """A path of this server, whatever is wanted."""
    mine = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if mine and wanted.isprintable() and "\\" not in wanted else here.url("/ui/")


def _form(here: Services, after: str, told: str, status: int) -> web.Response:
    action = escape(here.url("/sign-in"), quote=True)
    return _page(_FORM.format(told=told, action=action, next=escape(after, quote=True)), status)


def _page(body: str, status: int) -> web.Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    text = _PAGE.format(body=body)
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
