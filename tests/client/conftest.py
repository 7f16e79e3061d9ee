"""A small server that speaks the parts of the HTTP API that the client's tests are about.

It is a real aiohttp server on a real port; a test sets handlers of its own where it wants faults.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from modelyard.client import AsyncClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """What one request brought."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class SmallServer:
    """`routes` holds a handler for each `METHOD path`; `seen` every request in order."""

    url: str = ""
    routes: dict[str, Handler] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Any) -> None:
        """Each call gets the next answer (JSON, (status, JSON) or handler), the last for good."""
        left = list(answers)

        async def handler(request: web.Request) -> web.StreamResponse:
            answer = left.pop(0) if len(left) > 1 else left[0]
            if callable(answer):
                return await answer(request)
            status, document = answer if isinstance(answer, tuple) else (200, answer)
            return web.json_response(document, status=status)

        self.routes[f"{method} {path}"] = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        # A form is left to its handler, which reads it as the real server does.
        body = b"" if request.content_type == "multipart/form-data" else await request.read()
        self.seen.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                list(request.query.items()),
                {name.lower(): value for name, value in request.headers.items()},
                body,
            )
        )
        handler = self.routes.get(f"{request.method} {request.raw_path.partition('?')[0]}")
        if handler is None:
            return web.json_response({"status": 404, "detail": "Nothing here."}, status=404)
        return await handler(request)


@pytest.fixture
async def server() -> AsyncIterator[SmallServer]:
    small = SmallServer()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", small.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    small.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield small
    await runner.cleanup()


@pytest.fixture
async def client(server: SmallServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, reconnect_s=3) as client:
        yield client
