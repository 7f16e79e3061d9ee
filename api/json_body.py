"""Reads the JSON body of our own routes with the schema of their declaration.

A model's arguments are another matter: they are read by `body.py` and checked in the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from marshmallow import Schema, ValidationError

from ..errors import InvalidArguments, InvalidRequest, TooLarge, UnsupportedMediaType
from ..schemas.exactjson import loads
from ..schemas.routes import JSON
from .access.enforcing import confirm
from .unpacked import refuse_encoded, whole_of

_MOST_MEMBERS = 1000


async def parse_body(
    request: web.Request, schema: Schema | None, uploads: Sequence[str]
) -> dict[str, Any] | None:
    """The validated members of the JSON object that was sent; nothing at all is `{}`.

    None if the body is one of `uploads`, which the handler reads. Raises UnsupportedMediaType,
    InvalidRequest (no JSON, or no object), InvalidArguments naming each wrong member, and TooLarge
    for more than the application's limit of texts; as `confirm` if the sender may not do this any
    more.
    """
    kind = request.content_type
    is_json = kind == JSON or kind.endswith("+json")
    if request.can_read_body and not (is_json and schema is not None):
        if kind in uploads:
            return None
        taken = [*([JSON] if schema is not None else []), *uploads]
        raise UnsupportedMediaType(f"A body of {kind} is not taken: send {', '.join(taken)}.")
    meant = kind in uploads and "Content-Type" in request.headers
    if schema is None or (meant and not request.can_read_body):
        raise InvalidRequest(f"There is no body: send {', '.join(uploads)}.")
    refuse_encoded(request)
    try:
        text = await whole_of(request)
    except web.HTTPRequestEntityTooLarge as error:
        limit = request.client_max_size
        raise TooLarge(f"The JSON body is larger than {limit} bytes.", limit=limit) from error
    await confirm(request)
    try:
        given = loads(text) if text else {}
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidRequest('The body has to be a JSON object: {"name": value}.')
    if len(given) > _MOST_MEMBERS:  # each unknown one would be an error of its own
        raise InvalidRequest(f"The JSON object has more than {_MOST_MEMBERS} members.")
    try:
        return dict(schema.load(given))
    except ValidationError as error:
        told = error.normalized_messages()
        if not text:
            told = {name: [_no_body(name, uploads)] for name in told}
        raise InvalidArguments(told) from error


def _no_body(name: str, uploads: Sequence[str]) -> str:
    """Of a member that has to be given, and nothing was."""
    told = f'There is no body: send a JSON object with it ({JSON}, {{"{name}": ...}})'
    return f"{told}, or a file as {', '.join(uploads)}." if uploads else f"{told}."
