"""`/openapi.json` and `/swagger.json`: from the routes' declarations and what the models' workers
describe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from .. import __version__
from ..models_plugin.answers import json_bytes
from ..schemas.model_operations import CHOICES_SHOWN, ServedModel
from ..schemas.openapi import openapi_document
from ..schemas.routes import ResponseDoc, RouteDoc, problems
from ..schemas.swagger2 import swagger_document
from .access.principal import Principal, principal_of
from .heads import listed
from .services import Services, services

ABOUT = (
    "Describe, train, watch, keep and serve models. A model's arguments are those of its plugin. "
    "A training runs in the background; the moment it is done its weights can be chosen."
)


class DocumentCache:
    """A document as bytes, made anew only when a model or its weights have changed, or for keys
    that are for other models than those of the request before."""

    def __init__(self, make: Callable[..., dict[str, Any]], routes: Sequence[RouteDoc]) -> None:
        self._make = make
        self._routes = routes
        self._of: tuple[bool, list[ServedModel]] | None = None
        self._body = b""
        self._tag = ""

    async def document(self, here: Services, principal: Principal) -> tuple[bytes, str]:
        """The document with the models that the caller may know of, and its entity tag."""
        models, closed = [], here.gate.closed
        for handle in here.pool.all():
            if not principal.sees(handle.name):
                continue
            newest = await here.rooms.versions.list(handle.name, CHOICES_SHOWN)
            weights = [version.id for version in newest]
            aliases = list(await here.rooms.versions.aliases(handle.name))[:CHOICES_SHOWN]
            models.append(ServedModel(handle.name, handle.description, weights, aliases))
        if (closed, models) != self._of:
            more = problems(401) if here.gate.tokens is None else problems(401, 503)
            routes = [_asking(one, more) for one in self._routes] if closed else self._routes
            base = here.settings.base_path
            document = self._make(routes, models, __version__, base, ABOUT, closed)
            self._body = json_bytes(document)
            self._tag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
            self._of = (closed, models)
        return self._body, self._tag


def _asking(route: RouteDoc, more: dict[int, ResponseDoc]) -> RouteDoc:
    """The declaration while callers have to say who they are, which has `more` answers."""
    if route.permission is None and not route.asks_in_part:
        return route
    return replace(route, responses={**more, **route.responses})


OPENAPI = web.AppKey("openapi", DocumentCache)
SWAGGER = web.AppKey("swagger", DocumentCache)


def add_documents(app: web.Application, routes: Sequence[RouteDoc]) -> None:
    """Both documents of these routes, each made when it is first asked for."""
    app[OPENAPI] = DocumentCache(openapi_document, routes)
    app[SWAGGER] = DocumentCache(swagger_document, routes)


async def openapi(request: web.Request) -> web.StreamResponse:
    """The OpenAPI 3.1 document."""
    return await _answer(request, request.config_dict[OPENAPI])


async def swagger(request: web.Request) -> web.StreamResponse:
    """The same as Swagger 2.0, which DEEPaaS's clients read."""
    return await _answer(request, request.config_dict[SWAGGER])


async def _answer(request: web.Request, cache: DocumentCache) -> web.StreamResponse:
    body, tag = await cache.document(services(request), principal_of(request))
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in listed(request, "If-None-Match"):  # also after `W/`, of a packed answer
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
