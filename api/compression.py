"""Large answers in fewer bytes, for clients that take them so: Brotli or gzip, of JSON and text.

Pictures and archives are packed already. A small answer is not worth it: two or three packets more
cost the network less than packing costs us, and every common client says that it takes gzip.
RFC 9110, sections 8.4 and 12.5.3; RFC 7932 (Brotli), RFC 1952 (gzip). Runs in the front.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from .heads import listed

try:  # aiohttp has imported it already, where it is installed
    import brotli  # type: ignore[import-untyped]
except ImportError:  # an interpreter that it is not built for
    brotli = None

LEAST = 32 * 1024
"""Bytes from which an answer is packed."""
# Of answers in JSON, Brotli's quality 1 makes 4 to 12% less than gzip's level 1 in 0.1 to 0.6 of
# its time. Quality 2 makes up to 4% less than 1 in twice the time, gzip's level 6 2 to 15% less
# than level 1 in 1.4 to 9 times the time (benchmarks/answer_packing.py).
_QUALITY = 1
_LEVEL = 1
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
    coding = coding_for(request)
    if coding is not None:
        response.body = await asyncio.to_thread(packed, body, coding)
        response.headers["Content-Encoding"] = coding
        tag = response.headers.get("ETag", "")
        if tag.startswith('"'):  # not these bytes any more, but the same content (section 8.8.1)
            response.headers["ETag"] = f"W/{tag}"
    return response


def packable(content_type: str) -> bool:
    """True for JSON and text."""
    kind = content_type.partition(";")[0].strip()
    return kind in _TEXTS or kind.startswith("text/")


def coding_for(request: web.Request) -> str | None:
    """`br` or `gzip`, what the client likes best, of equals the cheaper; None: as it is.

    A client that says nothing may be able to read neither. Brotli has to be named: there are
    clients that say `*` and mean gzip.
    """
    return coding_of(accepted(request))


def accepted(request: web.Request) -> str:
    """What the client says of codings, in lower case."""
    return listed(request, "Accept-Encoding").lower()


def coding_of(accepted: str) -> str | None:
    """The same for what was said."""
    weights = _weights(accepted)
    likes = {"br": weights.get("br", 0.0)} if brotli is not None else {}
    likes["gzip"] = weights.get("gzip", weights.get("*", 0.0))
    coding = max(likes, key=likes.__getitem__)
    return coding if likes[coding] > 0 and likes[coding] >= weights.get("identity", 0.0) else None


def _weights(accepted: str) -> dict[str, float]:
    """Of each coding that the client names; what has no readable weight has none."""
    weights = {}
    for part in accepted.split(","):
        name, _, parameter = part.partition(";")
        key, _, value = parameter.partition("=")
        try:
            weight = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        weights[name.strip()] = weight
    return weights


class Packer:
    """Packs piece by piece: the answers of `pack` for each, then that of `rest`."""

    def __init__(self, coding: str) -> None:
        self.pack: Callable[[bytes], bytes]
        self.rest: Callable[[], bytes]
        if coding == "br":
            compressor = brotli.Compressor(quality=_QUALITY)
            self.pack, self.rest = compressor.process, compressor.finish
        else:
            compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
            self.pack, self.rest = compressor.compress, compressor.flush


def packed(body: bytes, coding: str) -> bytes:
    """The whole at once."""
    packer = Packer(coding)
    return packer.pack(body) + packer.rest()
