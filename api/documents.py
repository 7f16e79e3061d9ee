"""Version documents, the OpenAPI document, Swagger UI and its files."""

from __future__ import annotations

import re

from aiohttp import web

from .. import __version__
from ..web import static_file
from .access.principal import NOBODY, principal_of
from .access.sessions import sent_to_sign_in
from .body import SENT
from .errors import REALM
from .heads import listed
from .responses import json_response
from .services import root_of, services

API_VERSION = "v2"
_UI_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self' data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
)


async def versions(request: web.Request) -> web.StreamResponse:
    """The versions of the API; a browser is sent to Swagger UI."""
    here = services(request)
    accept = listed(request, "Accept")
    has_pages = here.settings.doc_endpoint
    if has_pages and "text/html" in accept and "application/json" not in accept:
        raise web.HTTPSeeOther(here.url("/ui/"))
    links = [
        ("help", "text/html", "/api"),
        ("describedby", "application/json", "/swagger.json"),
        ("help", "application/json", "/openapi.json"),
    ]
    return json_response(
        {
            "versions": [_version(request)],
            "links": [
                {"rel": rel, "type": content_type, "href": here.url(path)}
                for rel, content_type, path in links
                if has_pages or content_type != "text/html"
            ],
        }
    )


async def version(request: web.Request) -> web.StreamResponse:
    """This version of the API."""
    return json_response(_version(request))


def _version(request: web.Request) -> dict[str, object]:
    return {
        "version": "stable",
        "id": API_VERSION,
        "name": "modelyard",
        "extensions": ["binary_tensor_data"],
        **({"server": __version__} if principal_of(request) is not NOBODY else {}),
        "links": [
            {"rel": "self", "type": "application/json", "href": services(request).url("/v2/")}
        ],
    }


async def protected_resource(request: web.Request) -> web.StreamResponse:
    """Where to get a token for this server (RFC 9728), and how `modelyard login` does."""
    here = services(request).settings
    told: dict[str, object] = {
        "resource": root_of(request),
        "resource_name": "Modelyard",
        "bearer_methods_supported": ["header"],
        "authorization_servers": [] if here.oidc_issuer is None else [here.oidc_issuer],
    }
    if here.oidc_issuer is not None and here.oidc_client_id is not None:
        told["modelyard_client_id"] = here.oidc_client_id
        told["modelyard_scopes"] = here.oidc_login_scopes
        told["modelyard_audience"] = here.oidc_audience[0]
    return json_response(told)


async def name_metadata(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`, where there is an issuer: whoever is asked for a token is told
    where to learn how to get one (RFC 9728 section 5.1)."""
    challenge = response.headers.get("WWW-Authenticate", "")
    if challenge.startswith(REALM):
        address = f"{root_of(request)}/.well-known/oauth-protected-resource"
        response.headers["WWW-Authenticate"] = f'{challenge}, resource_metadata="{address}"'


async def ui(request: web.Request) -> web.StreamResponse:
    """Swagger UI. Its files are asked for relative to the page, whose address may lack the slash.

    No redirect: DEEPaaS answers `/api` itself, and what watches a server there expects 200.
    """
    if principal_of(request) is NOBODY and "text/html" in listed(request, "Accept"):
        raise sent_to_sign_in(request)
    if request.path.endswith("/"):
        return _page_file("index.html")
    path = static_file("swagger-ui", "index.html")
    assert path is not None
    folder = request.path.rpartition("/")[2]
    page = re.sub(r'\b(href|src)="', rf'\1="{folder}/', path.read_text("utf-8"))
    return _page(web.Response(text=page, content_type="text/html"))


async def ui_file(request: web.Request) -> web.StreamResponse:
    """One of Swagger UI's own files."""
    return _page_file(request.match_info["file"])


def _page_file(name: str) -> web.StreamResponse:
    path = static_file("swagger-ui", name)
    if path is None:
        raise web.HTTPNotFound
    return _page(web.FileResponse(path, SENT))


def _page(response: web.StreamResponse) -> web.StreamResponse:
    response.headers["Content-Security-Policy"] = _UI_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response
