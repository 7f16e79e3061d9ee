"""Version documents, the OpenAPI document, Swagger UI and its files."""

from __future__ import annotations

from aiohttp import web

from .. import __version__
from ..web import static_file
from .responses import json_response
from .services import services

API_VERSION = "v2"
_UI_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self' data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
)


async def versions(request: web.Request) -> web.StreamResponse:
    """The versions of the API; a browser is sent to Swagger UI."""
    here = services(request)
    accept = request.headers.get("Accept", "")
    if "text/html" in accept and "application/json" not in accept:
        raise web.HTTPSeeOther(here.url("/ui"))
    return json_response(
        {
            "versions": [_version(request)],
            "links": [
                {"rel": "help", "type": "text/html", "href": here.url("/api")},
                {"rel": "help", "type": "application/json", "href": here.url("/openapi.json")},
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
        "extensions": [],
        "server": __version__,
        "links": [
            {"rel": "self", "type": "application/json", "href": services(request).url("/v2/")}
        ],
    }


async def ui(request: web.Request) -> web.StreamResponse:
    """Swagger UI. Its files are asked for relative to the page, so the page has a slash."""
    if not request.path.endswith("/"):
        raise web.HTTPPermanentRedirect(request.path + "/")
    return await _file("index.html")


async def ui_file(request: web.Request) -> web.StreamResponse:
    """One of Swagger UI's own files."""
    return await _file(request.match_info["file"])


async def _file(name: str) -> web.StreamResponse:
    path = static_file("swagger-ui", name)
    if path is None:
        raise web.HTTPNotFound
    response = web.FileResponse(path)
    response.headers["Content-Security-Policy"] = _UI_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response
