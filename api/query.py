"""Parses the query of our own routes with the schema of their declaration (webargs' parser)."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.aiohttpparser import AIOHTTPParser

from ..errors import InvalidArguments


class QueryParser(AIOHTTPParser):
    """webargs' parser, whose failures are errors of our family instead of HTTP exceptions."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**AIOHTTPParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": RAISE}

    def handle_error(self, error: ValidationError, req: Any, schema: Schema, **_: Any) -> Any:
        """Raises InvalidArguments: `{field: [messages]}`, without a level for the place."""
        messages = error.normalized_messages()
        raise InvalidArguments(messages.get("query", messages)) from error


async def parse_query(request: web.Request, schema: Schema) -> dict[str, Any]:
    """The validated query. Raises InvalidArguments; a name that the schema lacks is one too."""
    for name in set(request.query):
        times = len(request.query.getall(name))
        if times > 1 and not isinstance(schema.fields.get(name), fields.List):
            raise InvalidArguments({name: [f"Given {times} times: give it once."]})
    parsed: dict[str, Any] = await QueryParser().parse(schema, request, location="query")
    return parsed
