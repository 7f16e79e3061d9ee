"""What becomes of each request: one structured line, and its place in the metrics.

The line has the route as it is declared and never a query string: arguments may be secret.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from .access.principal import principal_of
from .heads import for_logs, listed
from .metrics import Metrics, route_of

log = logging.getLogger("modelyard.access")

TRACE = web.RequestKey("trace", str)
"""The trace id of a request that is traced, 32 hex digits."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def access_log(metrics: Metrics) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that logs and counts a request when its handler has ended.

    `499` stands for a client that hung up.
    """

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status, response = 500, None
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        except (asyncio.CancelledError, ConnectionResetError):
            status = 499
            raise
        finally:
            seconds = time.perf_counter() - started
            metrics.request_ended(request, status, seconds)
            if log.isEnabledFor(logging.INFO):
                log.info("request", extra=_told(request, response, status, seconds))

    return watch


def _told(
    request: web.Request, response: web.StreamResponse | None, status: int, seconds: float
) -> dict[str, object]:
    """`bytes_in` is what the head announced, `bytes_out` the answer's body; None: not known."""
    line: dict[str, object] = {
        "method": request.method,
        "route": route_of(request),
        "model": for_logs(model) if (model := request.match_info.get("model")) else None,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "peer": request.remote,
        "bytes_in": request.content_length,
        "bytes_out": None if response is None else _size(response),
    }
    if name := principal_of(request).name:
        line["principal"] = name
    if response is not None and (version := response.headers.get("X-Modelyard-Weights")):
        line["version"] = version
    if trace := request.get(TRACE) or _trace_of(request):
        line["trace"] = trace
    return line


def _size(response: web.StreamResponse) -> int | None:
    """Bytes of the body: of one that is still to be sent its length, else what was written."""
    return response.body_length if response.content_length is None else response.content_length


def _trace_of(request: web.Request) -> str | None:
    return trace_named(listed(request, "traceparent"))  # of two neither counts (W3C)


def trace_named(traceparent: str) -> str | None:
    """The trace that the client named, for whoever looks for its requests here."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match.group(1) if match else None
