"""The framework's reader of one connection, with our limits and our words. Runs in the front."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError, LineTooLong
from aiohttp.streams import StreamReader

from ...errors import TooSlow
from ..access_log import log as access_log
from ..errors import BEGUN, told, told_problem
from ..expecting import EXPECTS, set_aside, unasked
from ..guard import HEADERS
from ..heads import STRANGE, in_our_version
from ..lane.answers import whole
from .addresses import Addresses
from .ending import reset, taken
from .intake import LEAST, SMALL, Intake, State, Turn
from .pace import Pace, Phase
from .roster import Roster

log = logging.getLogger(__name__)

_END_S = 0.02
_HEADS_S = 1.0
"""For so long the rest of a head may come when we stop: nobody keeps us by one that never does."""
_NEVER_S = 30 * 86_400.0
"""The framework's own idle time: ours rules."""


class Handler(web.RequestHandler):
    """One connection. `between_lines` is set by who reads a body of lines, while none is begun."""

    __slots__ = (
        "_partial",
        "_reading",
        "_requests",
        "_roster",
        "_taken",
        "between_lines",
        "intake",
        "pace",
        "turn",
    )

    def __init__(
        self,
        roster: Roster,
        intake: Intake,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=_NEVER_S,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
        )
        self._roster = roster
        self.intake = intake
        self.turn = Turn()
        self.pace = Pace()
        self.between_lines = False
        self._requests = 0
        self._partial = False  # bytes have come that are no request yet
        self._reading: web.BaseRequest | None = None
        self._taken: int | None = None

    # -- what happens -------------------------------------------------------------------------

    def connection_lost(self, exc: BaseException | None) -> None:
        self._roster.leave(self)
        self._roster.unread.taken(self)
        self.intake.leave(self)
        self._reading = None
        super().connection_lost(exc)

    def begin_with(self, data: bytes) -> None:
        """What came before the connection was ours. The next read is after `begun`, which may hold
        it: the transport's loop would go on with what is there."""
        self.data_received(data)
        if self.transport is not None:
            self.transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.transport is not None and not self._reading_paused:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.pace.came += len(data)
        if data and self._reading is None:
            self._partial = True
        super().data_received(data)
        if self._messages:
            self._look_for_fault()
        if self._reading is not None and self.unused() >= LEAST and self._is_large():
            self.intake.came(self)

    def _look_for_fault(self) -> None:
        """A body whose chunks or trailers are no HTTP: its reader is told, else it would wait for
        the rest, of which there is none, and the refusal would wait for it."""
        fault = getattr(self._messages[-1][0], "exc", None)
        request = self._reading
        if fault is None or request is None or request.content.is_eof():
            return
        request.content.set_exception(web.RequestPayloadError(_what_is_wrong(fault)))
        self._messages.clear()
        self.close()

    def pause_writing(self) -> None:
        self._roster.unread.waits(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._roster.unread.taken(self)
        self.pace.resumed()
        super().resume_writing()

    def begun(self, request: web.BaseRequest) -> None:
        """The head of a request has been read."""
        self._reading, self._partial = request, False
        self._requests += 1
        if self._is_large():
            self.intake.begins(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._reading, self.between_lines = None, False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What was sent is no HTTP, or the client has gone: both are usual, and no trace of a
        fault of ours. The framework would log one, and answer with its name and version."""
        if isinstance(exc, ConnectionError):
            log.debug("a client has gone: %s", exc)
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        many = "Too many headers" in str(exc.message)
        status = 431 if isinstance(exc, LineTooLong) or many else 400
        self._roster.metrics.requests("other", "none", "").add(status, 0.0)
        line = {"method": "other", "route": "none", "model": None, "status": status}
        access_log.info("request", extra={**line, "ms": 0.0, "peer": request.remote})
        answer = told_problem(status, _in_words(exc), "invalid-request")
        headers = {**HEADERS, "Server": "modelyard", "Content-Type": answer.content_type}
        response = web.Response(status=status, body=answer.body, headers=headers)
        response.force_close()
        return response

    # -- for the intake -----------------------------------------------------------------------

    def _is_large(self) -> bool:
        """True if more of a body is to come that was not announced as a small one."""
        request = self._reading
        if request is None or request.content.is_eof():
            return False
        length = request.content_length
        return length is None or length > SMALL

    def unused(self) -> int:
        return 0 if self._reading is None else unread(self._reading)

    def hold(self) -> None:
        if self.transport is not None:
            super().pause_reading()

    def let(self) -> None:
        if self.transport is not None:
            super().resume_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called by the framework whenever something of a body was taken, and at its end."""
        if self.turn.state is State.NONE:
            super().resume_reading(resume_parser)
        elif resume_parser:
            self.intake.asks(self)
        else:
            self.intake.leave(self)
            super().resume_reading(resume_parser)

    # -- for the roster -----------------------------------------------------------------------

    def phase(self) -> Phase | None:
        transport = self.transport
        if transport is None:
            return None
        request = self._reading
        waits = self.pace.waits_out(transport.get_write_buffer_size())
        # An answer is under way though it is for us to go on: its client may have stopped before.
        begun = request is not None and BEGUN in request
        self._taken = taken(transport, waits) if waits or begun else None
        if waits or self._taken is not None:
            return Phase.ANSWER
        if request is None:
            return Phase.HEAD if self._partial else Phase.IDLE
        if self.turn.state is State.WAITING:
            return Phase.HELD
        if request.content.is_eof() or not transport.is_reading() or unasked(request):
            return Phase.BUSY
        return Phase.LINES if self.between_lines else Phase.BODY

    def left_to_send(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def moved(self) -> int:
        if self._taken is not None:
            return self._taken
        if self._partial and self._reading is None:
            return self._requests
        return self.pace.came + self.pace.left

    def cut(self, phase: Phase) -> None:
        transport, request = self.transport, self._reading
        if transport is None:
            return
        if phase is Phase.IDLE:
            self.force_close()
        elif phase is Phase.ANSWER or (request is not None and BEGUN in request):
            reset(transport)
        else:
            transport.write(whole(told(TooSlow())))
            self.force_close()


class Framework:
    """Makes the framework's readers, for the connections that are not the lane's."""

    def __init__(self, server: web.Server, roster: Roster, proxies: Addresses) -> None:
        self._server = server
        self._roster = roster
        self._intake = Intake()
        self._proxies = proxies
        self._make_request: Any = server.request_factory
        server.request_factory = self._request
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Handler:
        return Handler(self._roster, self._intake, self._server, self._loop)

    async def close(self, until: float) -> None:
        """Closes connections that wait for a request, and soon those of which half a head has come;
        returns when the others have been answered, or at this time of the loop."""
        waiting, heads_until = {Phase.IDLE}, self._loop.time() + _HEADS_S
        while self._server.connections and self._loop.time() < until:
            if self._loop.time() > heads_until:
                waiting.add(Phase.HEAD)
            for connection in self._server.connections:
                if isinstance(connection, Handler) and connection.phase() in waiting:
                    connection.force_close()
            await asyncio.sleep(_END_S)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        """Of a request that a trusted proxy passed on, address and scheme are what it tells."""
        message, expects = set_aside(message)
        message, strange = in_our_version(message)
        request: web.BaseRequest = self._make_request(message, payload, protocol, writer, task)
        # What is no HTTP has no headers, and is not passed on.
        if self._proxies and message.raw_headers and self._proxies.has(request.remote or ""):
            forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
            # The last one is the proxy's own, in a header of its own or behind what came with it.
            schemes = ",".join(request.headers.getall("X-Forwarded-Proto", []))
            scheme = schemes.rpartition(",")[2].strip().lower()
            request = request.clone(
                remote=self._proxies.client_of(request.remote or "", forwarded),
                scheme=scheme if scheme in ("http", "https") else request.scheme,
            )
        if expects:
            request[EXPECTS] = expects
        if strange is not None:
            request[STRANGE] = strange
        if isinstance(protocol, Handler):
            protocol.begun(request)
        return request


def between_lines(request: web.BaseRequest, so: bool) -> None:
    """Told by who reads a body of lines: whether none is begun, so that silence is no fault."""
    if isinstance(request.protocol, Handler):
        request.protocol.between_lines = so


def unread(request: web.BaseRequest) -> int:
    """Bytes of its body that have come and that nobody has taken."""
    # Nothing public tells it; a request without a body has a reader without it.
    return getattr(request.content, "_size", 0)


def using(request: web.BaseRequest, size: int) -> AbstractContextManager[None]:
    """Counts so many bytes of its body, which are on their way to a file, while the block lasts."""
    protocol = request.protocol
    return protocol.intake.using(size) if isinstance(protocol, Handler) else nullcontext()


def is_crowded(request: web.BaseRequest) -> bool:
    """True if large bodies wait for each other: each is to keep little in memory then."""
    return isinstance(request.protocol, Handler) and request.protocol.intake.is_full


def _in_words(error: HttpProcessingError) -> str:
    """What is wrong with the head, without what the client sent."""
    return f"The request is not valid HTTP: {_what_is_wrong(error)}"


def _what_is_wrong(error: HttpProcessingError) -> str:
    if isinstance(error, LineTooLong):
        return (
            "the address or one header has more than 8190 bytes, which is the most; send what is "
            "long in the body"
        )
    if isinstance(error, InvalidURLError):
        return "its address cannot be read"
    if "Too many headers" in str(error.message):
        return "it has more than 128 headers, which is the most"
    told = str(error.message).strip().splitlines()
    first = told[0].rstrip(":") if told else "it cannot be read"
    return first[:200]
