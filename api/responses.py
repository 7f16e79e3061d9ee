"""JSON answers of our own resources: dumped through their schema, encoded once, and told with
discretion (`discretion.py`). And answers in pieces."""

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


class Streamed(web.StreamResponse):
    """An answer that is written in pieces, to a GET or to a HEAD."""

    async def begun(self, request: web.Request) -> bool:
        """Sends the head. False if that is all, to a HEAD: the framework would send what is written
        after it, where the client looks for the answer to its next request."""
        await self.prepare(request)
        if request.method == "HEAD":
            await self.write_eof()
            return False
        return True


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
