"""Large answers in fewer bytes, for clients that take them so: gzip, of JSON and text.

Pictures and archives are packed already. A small answer is not worth it: two or three packets more
cost the network less than packing costs us, and every common client says that it takes gzip.
RFC 9110, sections 8.4 and 12.5.3. Runs in the front.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from aiohttp import web

LEAST = 32 * 1024
"""Bytes from which an answer is packed."""
_LEVEL = 1  # of JSON numbers level 6 makes 3% less in four times the time
_GZIP = 16 + zlib.MAX_WBITS
_TEXTS = frozenset({"application/json", "application/problem+json", "application/openapi+json"})


@web.middleware
async def compress(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Packs an answer that is whole; what streams is packed by whoever streams it."""
    response = await handler(request)
    if not isinstance(response, web.Response):
        return response
    body = response.body
    if not isinstance(body, bytes) or len(body) < LEAST or not packable(response.content_type):
        return response
    if "Content-Encoding" in response.headers:
        return response
    response.headers.add("Vary", "Accept-Encoding")
    if takes_gzip(request):
        response.body = await asyncio.to_thread(_packed, body)
        response.headers["Content-Encoding"] = "gzip"
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):  # not these bytes any more, but the same content (section 8.8.1)
            response.headers["ETag"] = f"W/{tag}"
    return response


def packable(content_type: str) -> bool:
    """True for JSON and text."""
    return content_type in _TEXTS or content_type.startswith("text/")


def takes_gzip(request: web.Request) -> bool:
    """True if the client says so; one that says nothing may not be able to read it."""
    weights = {}
    for part in ",".join(request.headers.getall("Accept-Encoding", [])).lower().split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        try:
            weight = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        weights[name.strip()] = weight
    return weights.get("gzip", weights.get("*", 0.0)) > 0


class Packer:
    """Packs piece by piece."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(_LEVEL, wbits=_GZIP)

    def pack(self, piece: bytes) -> bytes:
        return self._packer.compress(piece)

    def rest(self) -> bytes:
        return self._packer.flush()


def _packed(body: bytes) -> bytes:
    packer = Packer()
    return packer.pack(body) + packer.rest()
