"""What a route is: a declaration and its handler. Each resource declares its own elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from marshmallow import Schema

from ..schemas.routes import PathParameter, ResponseDoc, RouteDoc

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = "[0-9a-f]{32}"


@dataclass(frozen=True)
class Route:
    """A declaration and its handler.

    `once`: it creates, so a repeat with the same Idempotency-Key gets the first one's answer
    (`idempotency.py`). A handler that reads files itself sees to that itself, too.
    `fills`: it needs room on the disk, and is refused where there is too little.
    """

    doc: RouteDoc
    handler: Handler
    once: bool = False
    fills: bool = False


MODEL = {"model": PathParameter("The model's name.", "[A-Za-z0-9][A-Za-z0-9._-]{0,99}")}
RUN = {**MODEL, "id": PathParameter("The run's id.", ID)}
WEIGHTS = {
    **MODEL,
    "id": PathParameter(
        "The version's id, or an alias such as `latest`.", f"{ID}|[A-Za-z][A-Za-z0-9._-]{{0,99}}"
    ),
}


def answer(about: str, schema: type[Schema], **headers: str) -> dict[int, ResponseDoc]:
    return {200: ResponseDoc(about, schema, headers=headers)}


def text(about: str, content_type: str) -> dict[int, ResponseDoc]:
    return {200: ResponseDoc(about, None, (content_type,))}
