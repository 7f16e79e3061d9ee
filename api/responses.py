"""JSON answers of our own resources: dumped through their schema, encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema

from ..models_plugin.answers import json_bytes


def json_response(
    value: Any,
    schema: Schema | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """`value` as JSON; with a schema, only what the schema knows leaves the server."""
    if schema is not None:
        value = schema.dump(value)
    return web.Response(
        body=json_bytes(value), status=status, headers=headers, content_type="application/json"
    )
