"""JSON answers of our own resources: dumped through their schema, encoded once, and told with
discretion (`discretion.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema

from ..models_plugin.answers import json_bytes
from .access.principal import principal_of
from .discretion import discretion

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OWN = web.ResponseKey("own", bool)
"""Set on answers whose text is the server's, and not a model's."""


def json_response(
    value: Any,
    schema: Schema | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """`value` as JSON; with a schema, only what the schema knows leaves the server."""
    if schema is not None:
        value = schema.dump(value)
    return own(
        web.Response(
            body=json_bytes(value), status=status, headers=headers, content_type="application/json"
        )
    )


def own(response: web.Response) -> web.Response:
    """Says that its text, which is JSON, is the server's own."""
    response[OWN] = True
    return response


@web.middleware
async def without_paths(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a record or a model's state says of files, for who may not know where they are."""
    response = await handler(request)
    if isinstance(response, web.Response) and OWN in response and isinstance(response.body, bytes):
        told = discretion(request).json(response.body, principal_of(request))
        if told is not response.body:
            response.body = told
    return response
