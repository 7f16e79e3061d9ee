"""One connection in the lane: reads calls, asks workers, writes answers. Runs in the front.

No task and no future of its own for a call: what comes is handled as it comes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from pathlib import Path
from typing import cast

from ...errors import Busy, InvalidArguments, ModelyardError, NoWeights, TooSlow
from ...serving.messages import Prediction
from ..access_log import log as access_log
from ..compression import LEAST, packable
from ..errors import told
from ..port.ending import reset
from ..port.pace import Pace, Phase
from ..predict import remove
from ..services import tell_where
from ..terms import check_accepted
from .answers import begin, whole
from .call import Call
from .calls import told_of_call
from .large import send_large
from .shared import Shared

log = logging.getLogger(__name__)

_AHEAD = 1 << 20  # bytes that a client may send before it has read its answer
_LARGE = 64 * 1024
_GONE = 499
_DOING = "a predict call"


class Connection(asyncio.Protocol):
    """See the package. Its calls follow each other, as HTTP has it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._peer = self._proxy = ""
        self._buffer: bytes | bytearray = b""
        self._call: Call | None = None
        self._skip = 0  # bytes to come of a body that was refused
        self.pace = Pace()
        self._reading = False  # within _next
        self._held = False  # what the client sends waits in the kernel
        self._paused = False  # the client does not read
        self._resumed: asyncio.Event | None = None
        self._ended = False  # the last answer has been given

    # -- what the transport tells -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        self._proxy = self._shared.proxy(self._peer)
        if not self._shared.admits(self, transport):
            self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._shared.roster.leave(self)
        self._shared.roster.unread.taken(self)
        if self._resumed is not None:
            self._resumed.set()
        call, self._call = self._call, None
        if call is not None:
            if call.coming is not None:
                call.coming.over()
            if call.drop is not None:
                call.drop()
                self._shared.spawn(remove(Path(call.folder)))
            self._leave(call)
            self._told(call, _GONE, None, None)

    def pause_writing(self) -> None:
        self._paused = True
        self._resumed = asyncio.Event()
        self._shared.roster.unread.waits(self)

    def resume_writing(self) -> None:
        self._paused = False
        self._shared.roster.unread.taken(self)
        self.pace.resumed()
        if self._resumed is not None:
            self._resumed.set()
        if self._call is None:
            self._next()
        self._flow()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self.pace.came += len(data)
        if self._skip:
            self._skip, data = max(0, self._skip - len(data)), data[self._skip :]
        if self._buffer:
            self._buffer += data
        else:
            self._buffer = data
        call = self._call
        if call is None or call.request is None:
            self._next()
        if self._held or len(self._buffer) > _AHEAD:
            self._flow()

    def _flow(self) -> None:
        """Lets what the client sends wait in the kernel, while there is much that is not begun."""
        transport = self._transport
        if transport is None or self._ended:
            return
        busy = self._paused or (self._call is not None and self._call.request is not None)
        held = busy and len(self._buffer) > _AHEAD
        if held != self._held:
            self._held = held
            (transport.pause_reading if held else transport.resume_reading)()

    # -- requests -----------------------------------------------------------------------------

    def _next(self) -> None:
        """Begins with what has come, as far as it goes."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._buffer and self._transport is not None:
                if self._paused or self._ended or not self._read_call():
                    return
        finally:
            self._reading = False

    def _read_call(self) -> bool:
        """Takes a call out of what has come; False: nothing more can be done now."""
        call = self._call
        if call is None:
            end = self._buffer.find(b"\r\n\r\n") + 4
            head = bytes(self._buffer[:end])
            kind = self._shared.kind(head) if end > 3 else None
            if kind is None:
                self._hand_over()
                return False
            self._buffer = self._buffer[end:]
            self._call = call = Call(kind, head)
            if self._proxy:
                self._peer = self._shared.client_of(self._proxy, kind)
            try:
                self._shared.here.door.enter(kind.caller or self._peer, kind.served.handle.name)
                call.inside = True
            except ModelyardError as error:
                self._refuse(call, error)
                return True
        length = call.kind.length
        if len(self._buffer) < length:
            try:
                if call.coming is None:
                    call.coming = call.kind.served.handle.expect(length)
                call.coming.came_to(len(self._buffer))
            except ModelyardError as error:
                self._refuse(call, error)
                return True
            if type(self._buffer) is bytes and length > _LARGE:
                self._buffer = bytearray(self._buffer)  # else each piece would copy all before it
            return False
        if call.coming is not None:
            call.coming.over()
            call.coming = None
            if not self._shared.is_settled(call.kind):  # the framework asks who sends it
                self._leave(call)
                self._call, self._buffer = None, call.head + self._buffer
                self._hand_over()
                return False
        come = bytes(self._buffer)
        body, self._buffer = come[:length], come[length:]
        self._ask(call, body)
        return self._call is None

    def _refuse(self, call: Call, error: ModelyardError) -> None:
        """Answers at once, and lets the body pass."""
        if call.coming is not None:
            call.coming.over()
        length = call.kind.length
        self._skip = max(0, length - len(self._buffer))
        self._buffer = self._buffer[length:]
        self._write_error(call, error)

    def _ask(self, call: Call, body: bytes) -> None:
        kind = call.kind
        call.folder = self._shared.folder()
        call.request = request = kind.request(body, call.folder)
        handle = kind.served.handle
        asking = (request, None, call.folder, kind.timeout_s, kind.sticky)
        try:
            asked = handle.submit(*asking)
        except NoWeights:
            task = self._shared.spawn(self._shared.here.predict(handle, *asking))
            call.drop = task.cancel
            task.add_done_callback(self._answered)
            return
        except Exception as error:
            self._write_error(call, error)
            return
        call.drop = asked.leave
        asked.future.add_done_callback(self._answered)

    def _hand_over(self) -> None:
        """From here on the connection is the framework's."""
        transport, buffer = self._transport, self._buffer
        assert transport is not None
        self._transport, self._buffer = None, b""
        protocol = self._shared.framework()
        self._shared.roster.pass_on(self, protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.begin_with(bytes(buffer))

    # -- answers ------------------------------------------------------------------------------

    def _answered(self, future: asyncio.Future[Prediction]) -> None:
        call = self._call
        if call is None or self._transport is None:
            if not future.cancelled():
                future.exception()  # nobody wants to know
            return
        call.drop = None
        if future.cancelled():
            self.abort()
            return
        error = future.exception()
        if error is None:
            prediction = future.result()
            assert call.request is not None
            try:
                kind = call.kind
                check_accepted(kind.served.handle, kind.taken, call.request, prediction)
                head = self._shared.head_of(prediction)
            except Exception as refused:
                error = refused
        if error is not None:
            self._fail(call, error)
            return
        body = prediction.body
        large = prediction.path is not None or len(body) >= LEAST
        if large and (prediction.path is not None or packable(prediction.content_type)):
            self._shared.spawn(self._send(call, prediction))
            return
        self._write(call, 200, head, body, prediction.weights_id)
        self._over(call, prediction)

    def _fail(self, call: Call, error: BaseException) -> None:
        """The answer is an error; the worker may have left something in the call's folder."""
        assert call.request is not None
        if call.request.parts or not isinstance(error, (InvalidArguments, Busy)):
            self._shared.spawn(remove(Path(call.folder)))
        if isinstance(error, InvalidArguments):
            tell_where(error, "weights")
        self._write_error(call, error)

    def _over(self, call: Call, prediction: Prediction) -> None:
        """After the answer: a version that is tried may get a copy, else the folder goes."""
        assert call.request is not None
        kept = call.kind.served.handle.copied(call.request, call.folder, prediction)
        if prediction.made and not kept:
            self._shared.spawn(remove(Path(call.folder)))

    def _write_error(self, call: Call, error: BaseException) -> None:
        answer = self._shared.told(call.kind, error)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        self._write(call, answer.status, begin(answer.status, headers), answer.body, None)

    def _write(
        self, call: Call, status: int, head: bytes, body: bytes, version: str | None
    ) -> None:
        """The whole answer, in one piece; then the next call."""
        transport = self._transport
        assert transport is not None
        last = self._is_last(call)
        end = b"Connection: close\r\n\r\n" if last else b"\r\n"
        length = b"Content-Length: %d\r\n" % len(body)
        transport.write(b"".join((head, length, self._shared.clock.line(), end, body)))
        self._told(call, status, len(body), version)
        self._done(call, last)

    def _is_last(self, call: Call) -> bool:
        return not call.kind.keeps_alive or self._shared.here.stopping.is_set()

    def _done(self, call: Call, last: bool) -> None:
        self._leave(call)
        self._call = None
        transport = self._transport
        if transport is None:
            return
        if last:
            self._end(transport)
            return
        if self._buffer:
            self._next()
        if self._held:
            self._flow()

    def _end(self, transport: asyncio.Transport) -> None:
        """Nothing more is read; the connection ends when what was written has left."""
        self._ended, self._buffer = True, b""
        transport.close()

    async def _send(self, call: Call, prediction: Prediction) -> None:
        """A large answer: packed if the client takes that, a file piece by piece."""
        last = self._is_last(call)
        try:
            end = b"Connection: close\r\n\r\n" if last else b"\r\n"
            push = functools.partial(self._push, call)
            line = self._shared.clock.line()
            sent = await send_large(prediction, call.kind.accepted, line + end, push)
        except Exception as error:
            self._shared.spawn(remove(Path(call.folder)))
            if self._call is not call or self._transport is None:
                return
            if call.begun:
                log.exception("an answer was cut off: %s", _DOING)
                self.abort()
            else:
                self._write_error(call, error)
            return
        self._over(call, prediction)
        if self._call is call:
            self._told(call, 200, sent, prediction.weights_id)
            self._done(call, last)

    async def _push(self, call: Call, data: bytes) -> None:
        """Writes when the client has read enough of what came before."""
        if self._paused and self._resumed is not None:
            await self._resumed.wait()
        if self._transport is None:
            raise ConnectionResetError("the client has gone")
        call.begun = True
        self._transport.write(data)

    # -- the end ------------------------------------------------------------------------------

    def _leave(self, call: Call) -> None:
        if call.inside:
            call.inside = False
            self._shared.here.door.leave(call.kind.caller or self._peer)

    def _told(self, call: Call, status: int, size: int | None, version: str | None) -> None:
        seconds = time.perf_counter() - call.started
        call.kind.served.requests.add(status, seconds)
        if access_log.isEnabledFor(logging.INFO):
            line = told_of_call(call.kind, status, seconds, self._peer, size, version)
            access_log.info("request", extra=line)

    def close_if_idle(self) -> None:
        """Closes it if it waits for a request."""
        if self._call is None and self._transport is not None and not self._ended:
            self._end(self._transport)

    def abort(self) -> None:
        """Cuts the connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- for the roster -----------------------------------------------------------------------

    def phase(self) -> Phase | None:
        transport, call = self._transport, self._call
        if transport is None:
            return None
        if self.pace.waits_out(transport.get_write_buffer_size()):
            return Phase.ANSWER
        if self._ended:
            return None
        if call is None:
            return Phase.BODY if self._skip else Phase.IDLE
        return Phase.BODY if call.request is None else Phase.BUSY

    def left_to_send(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def moved(self) -> int:
        return self.pace.came + self.pace.left

    def cut(self, phase: Phase) -> None:
        call, transport = self._call, self._transport
        if phase is Phase.IDLE:
            self.close_if_idle()
        elif phase is Phase.BODY and call is not None and transport is not None:
            if call.coming is not None:
                call.coming.over()
            self._call = None
            transport.write(whole(told(TooSlow())))
            self._leave(call)
            self._told(call, 408, 0, None)
            self._end(transport)
        elif transport is not None:
            reset(transport)
