"""The body of a request that was compressed, unpacked as it is read. Runs in the front.

The framework would unpack whatever comes, also what nobody asked for: of a body that is refused, or
sent to an address that takes none, it would unpack all the rest only to throw it away, megabytes of
work for each kilobyte. So it hands bodies on as they come (`port/handler.py`), and who reads one
asks here.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from ..errors import UnsupportedMediaType
from .expecting import go_on

_PIECE = 256 * 1024
"""Bytes that are unpacked at a time: in less than a millisecond."""
_GZIP = 31  # zlib's word for a gzip header and the largest window
MEMBERS_LIMIT = 1000
"""Members (RFC 1952, section 2.2) of one body: an empty one is 20 bytes that come to nothing."""


def coding_of_body(request: web.BaseRequest) -> str:
    """How the body is encoded, in lower case; `identity`: not at all."""
    return ",".join(request.headers.getall("Content-Encoding", ["identity"])).strip().lower()


def refuse_encoded(request: web.BaseRequest) -> None:
    """Raises UnsupportedMediaType for an encoded body, where none is taken."""
    if coding_of_body(request) != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding: none is taken here.")


def content_of(request: web.Request) -> StreamReader:
    """The body as it comes, for who reads it now: a client that asked whether to send it is told.

    Every body is read by this function or one of those below.
    """
    go_on(request)
    return request.content


async def whole_of(request: web.Request) -> bytes:
    """All of the body, as far as the framework's limit allows (`client_max_size`).

    Raises HTTPRequestEntityTooLarge; before it has come, if its length is told.
    """
    limit, length = request.client_max_size, request.content_length
    if limit and length is not None and length > limit:
        raise web.HTTPRequestEntityTooLarge(limit, length)
    go_on(request)
    return await request.read()


@asynccontextmanager
async def body_of(request: web.Request) -> AsyncIterator[StreamReader]:
    """The body, unpacked if it is gzip; how much it may become is for who reads it to count.

    What cannot be unpacked raises ValueError where it is read.
    """
    if coding_of_body(request) != "gzip":
        yield content_of(request)
        return
    flow = _Flow()
    stream = StreamReader(flow, _PIECE, loop=asyncio.get_running_loop())
    unpacking = asyncio.ensure_future(_unpack(content_of(request), stream, flow))
    try:
        yield stream
    finally:
        unpacking.cancel()
        with suppress(asyncio.CancelledError):
            await unpacking


class _Flow(BaseProtocol):
    """Lets the unpacking wait while its reader has enough."""

    __slots__ = ("room",)

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.room = asyncio.Event()
        self.room.set()

    @property
    def connected(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._reading_paused = True
        self.room.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False
        self.room.set()


async def _unpack(packed: StreamReader, stream: StreamReader, flow: _Flow) -> None:
    try:
        unpacker, members = zlib.decompressobj(_GZIP), 1
        while data := await packed.readany():
            more = True
            while more:
                if unpacker.eof:
                    members += 1
                    if members > MEMBERS_LIMIT:
                        raise ValueError(f"it has more than {MEMBERS_LIMIT} gzip members")
                    unpacker = zlib.decompressobj(_GZIP)
                piece = unpacker.decompress(data, _PIECE)
                data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
                more = bool(data) or (len(piece) == _PIECE and not unpacker.eof)
                if piece:
                    stream.feed_data(piece)
                await asyncio.sleep(0)
                await flow.room.wait()
        if not unpacker.eof:
            raise ValueError("its gzip ends too early")
        stream.feed_eof()
    except zlib.error as error:
        stream.set_exception(ValueError(f"it is no gzip ({error})"))
    except Exception as error:  # whoever reads gets it
        stream.set_exception(error)
