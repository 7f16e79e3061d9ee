"""Parses the query of our own routes with the schema of their declaration.

marshmallow alone, and either release of it: old modules pin webargs and marshmallow, and what pip
does to these in the server's environment must not stop the server.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError, fields

from ..errors import InvalidArguments


async def parse_query(request: web.Request, schema: Schema) -> dict[str, Any]:
    """The validated query. Raises InvalidArguments; a name that the schema lacks is one too."""
    given: dict[str, Any] = {}
    for name in set(request.query):
        values = request.query.getall(name)
        if isinstance(schema.fields.get(name), fields.List):
            given[name] = values
        elif len(values) > 1:
            raise InvalidArguments({name: [f"Given {len(values)} times: give it once."]})
        else:
            given[name] = values[0]
    try:
        return dict(schema.load(given, unknown=RAISE))
    except ValidationError as error:
        raise InvalidArguments(error.normalized_messages()) from error
