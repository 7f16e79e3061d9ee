"""`/sign-in` and `/sign-out`: a browser shows a key once, or its person signs in at the issuer
(`issuer_sign_in.py`), and has a session from then on."""

from __future__ import annotations

from html import escape
from urllib.parse import quote, urlsplit

from aiohttp import web

from ..errors import NotSignedIn, TooLarge, UnsupportedMediaType
from ..schemas.model_operations import FORM
from .access.code_flow import CodeFlow
from .access.principal import NOBODY, Principal, principal_of
from .access.sessions import COOKIE, LASTS_S, SESSIONS, Holder
from .forms import parse_form
from .services import Services, services
from .unpacked import content_of, refuse_encoded

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_FORM_LIMIT = 16 * 1024
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Modelyard: sign in</title>{head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.3rem 0 1rem}}
[role=alert]{{color:#a00}}</style></head><body><main><h1>Modelyard</h1>{body}</main></body></html>
"""
_ISSUER = """<p><a id="issuer" href="{start}">Sign in at {issuer}</a>, or:</p>"""
_FORM = """{told}{issuer}<form method="post" action="{action}" autocomplete="off">
<input type="hidden" name="next" value="{next}"><label for="key">Your key</label>
<input id="key" name="key" type="password" required autofocus autocomplete="off" spellcheck="false">
<button>Sign in</button></form>"""
_SIGNED_IN = """<p>You are signed in as <b>{name}</b>.</p><p><a href="{next}">Go on</a></p>
<form method="post" action="{action}"><button>Sign out</button></form>"""


async def page(request: web.Request) -> web.StreamResponse:
    """The form, or who is signed in."""
    here, principal = services(request), principal_of(request)
    after = path_after(here, request.query.get("next", ""))
    if principal is NOBODY:
        return form(here, after, "", 200)
    name = escape(principal.label or principal.name.partition(":")[2] or "anybody")
    action = escape(here.url("/sign-out"), quote=True)
    return a_page(_SIGNED_IN.format(name=name, next=escape(after, quote=True), action=action), 200)


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Begins a session if the key is valid; else the form again, with 401."""
    here, sent = services(request), dict(await _form_of(request))
    key, after = sent.get("key"), path_after(here, str(sent.get("next", "")))
    principal: Principal | None = None
    told = "This key is not valid."
    try:
        text = key.strip() if isinstance(key, str) else ""
        principal = await here.gate.shown(text, request.remote or "")
    except NotSignedIn as error:
        told = error.message
    about = {"peer": request.remote, "method": "POST", "route": here.url("/sign-in")}
    if principal is None:
        await here.trail.refused(None, **about, status=401, why="not-signed-in")
        return form(here, after, told, 401)
    credential = principal.credential
    await here.trail.signed_in(principal, **about, status=303)
    answer = web.Response(status=303, headers={"Location": after, "Cache-Control": "no-store"})

    async def holder() -> Principal | None:
        return here.gate.holder_of(credential)

    begin_session(request, answer, principal.name, holder)
    return answer


async def _form_of(request: web.Request) -> list[tuple[str, str]]:
    """What the page sends. Not by the framework's own reader, whom strangers could have write files
    into the machine's temporary folder.

    Raises UnsupportedMediaType, TooLarge and InvalidRequest.
    """
    refuse_encoded(request)
    if request.content_type != FORM:
        raise UnsupportedMediaType(f"A key is sent as {FORM}.")
    body = bytearray()
    async for chunk in content_of(request).iter_any():
        body += chunk
        if len(body) > _FORM_LIMIT:
            raise TooLarge(f"The form is larger than {_FORM_LIMIT} bytes.", limit=_FORM_LIMIT)
    return await parse_form(bytes(body))


async def sign_out(request: web.Request) -> web.StreamResponse:
    """Ends the session, here and in the browser."""
    here = services(request)
    request.config_dict[SESSIONS].end(request.cookies.get(COOKIE, ""))
    answer = web.Response(status=303, headers={"Location": here.url("/sign-in")})
    answer.del_cookie(COOKIE, path=here.settings.base_path or "/")
    return answer


def begin_session(request: web.Request, answer: web.Response, whose: str, holder: Holder) -> None:
    """Gives the browser a session with this answer; one that it had before ends."""
    sessions, base_path = request.config_dict[SESSIONS], services(request).settings.base_path
    sessions.end(request.cookies.get(COOKIE, ""))
    answer.set_cookie(
        COOKIE,
        sessions.begin(whose, holder),
        max_age=LASTS_S,
        path=base_path or "/",
        httponly=True,
        samesite="Strict",
        secure=is_https(request),
    )


def is_https(request: web.Request) -> bool:
    """Whether the browser came by HTTPS, to us or to a proxy before us."""
    return request.secure or (services(request).settings.public_url or "").startswith("https:")


def flow_of(here: Services) -> CodeFlow | None:
    """How browsers sign in at the issuer, if they may."""
    return None if here.gate.tokens is None else here.gate.tokens.flow


def path_after(here: Services, wanted: str) -> str:
    """A path of this server, whatever is wanted."""
    mine = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if mine and wanted.isprintable() and "\\" not in wanted else here.url("/ui/")


def form(here: Services, after: str, told: str, status: int) -> web.Response:
    """The page on which a browser signs in; `told` is what went wrong before."""
    alert = f'<p role="alert">{escape(told)}</p>' if told else ""
    action, issuer = escape(here.url("/sign-in"), quote=True), here.settings.oidc_issuer
    link = ""
    if flow_of(here) is not None and issuer is not None:
        start = f"{here.url('/sign-in/start')}?next={quote(after, safe='/')}"
        name = escape(urlsplit(issuer).netloc)
        link = _ISSUER.format(start=escape(start, quote=True), issuer=name)
    return a_page(
        _FORM.format(told=alert, issuer=link, action=action, next=escape(after, quote=True)), status
    )


def a_page(body: str, status: int, head: str = "") -> web.Response:
    """One of our own pages for a person: no script, shown in no frame, kept by nobody."""
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
    }
    text = _PAGE.format(body=body, head=head)
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
