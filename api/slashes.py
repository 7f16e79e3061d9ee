"""Doubled slashes in an address: a permanent redirect to the address without, as under DEEPaaS."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from yarl import URL


@web.middleware
async def merge_slashes(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Redirects with 308, which keeps method and body, if the merged address is one of ours.

    The merged path begins with one slash, so that it is never a relative reference with a host
    (`//host/path`, RFC 3986 section 4.2).
    """
    path = request.rel_url.raw_path
    if request.match_info.http_exception is not None and "//" in path:
        merged = re.sub("/{2,}", "/", path)
        there = await request.app.router.resolve(request.clone(rel_url=merged))
        if merged.startswith("/") and there.http_exception is None:
            query = request.rel_url.raw_query_string
            location = f"{merged}?{query}" if query else merged
            raise web.HTTPPermanentRedirect(URL(location, encoded=True))
    return await handler(request)
