"""One structured line for each request: route template, status, time; never a query string."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

log = logging.getLogger("modelyard.access")


@web.middleware
async def access_log(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Logs the request when its handler has ended. `499` stands for a client that hung up."""
    if not log.isEnabledFor(logging.INFO):
        return await handler(request)
    started = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as error:
        status = error.status
        raise
    except asyncio.CancelledError:
        status = 499
        raise
    finally:
        resource = request.match_info.route.resource
        log.info(
            "request",
            extra={
                "method": request.method,
                "route": resource.canonical if resource else "none",
                "model": request.match_info.get("model"),
                "status": status,
                "ms": round((time.perf_counter() - started) * 1000, 2),
                "peer": request.remote,
            },
        )
