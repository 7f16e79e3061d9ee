"""`/tensorboard/`: passes requests on to the one TensorBoard child over its Unix socket.

The child is started by the first request and listens nowhere else; see `training/tensorboard.py`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, UnixConnector, web
from yarl import URL

from ..errors import Busy
from .services import services
from .unpacked import refuse_encoded, whole_of

log = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
    ]
)  # RFC 9110, section 7.6.1; the host and length are set anew
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
_FRAMES = "frame-ancestors 'self'"
"""TensorBoard's pages bring a policy of their own, but let any site show them in a frame."""
_PASSED_ON = frozenset(
    [
        "accept",
        "accept-encoding",
        "accept-language",
        "content-type",
        "if-none-match",
        "if-modified-since",
        "range",
        "user-agent",
        "x-requested-with",
    ]
)
"""Headers that TensorBoard gets: no cookie and no Authorization of ours."""


async def proxy(request: web.Request) -> web.StreamResponse:
    """One request to TensorBoard. Raises Busy while it cannot be reached."""
    async with services(request).tensorboard.asked() as socket:
        return await _passed_on(request, socket)


async def _passed_on(request: web.Request, socket: Path) -> web.StreamResponse:
    refuse_encoded(request)
    body = await whole_of(request) if request.can_read_body else None
    headers = [pair for pair in request.headers.items() if pair[0].lower() in _PASSED_ON]
    if "Accept-Encoding" not in request.headers:  # else our client asks for what it can read
        headers.append(("Accept-Encoding", "identity"))
    connector = UnixConnector(path=str(socket))
    session = ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=120),
    )
    try:
        async with (
            session,
            session.request(
                request.method,
                URL(f"http://tensorboard{request.rel_url}", encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
            ) as answer,
        ):
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    response.headers.add(name, value)
            policy = response.headers.get("Content-Security-Policy", _POLICY)
            response.headers["Content-Security-Policy"] = f"{policy.rstrip(';')}; {_FRAMES}"
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except (TimeoutError, ClientError, OSError) as error:
        log.warning("TensorBoard does not answer: %s", error)
        raise Busy("TensorBoard does not answer at present.", retry_after_s=2) from error


async def redirect(request: web.Request) -> web.StreamResponse:
    """TensorBoard's page needs the slash."""
    raise web.HTTPPermanentRedirect(request.path + "/")
