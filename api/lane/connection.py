"""One connection in the lane: reads calls, asks workers, writes answers. Runs in the front.

No task and no future of its own for a call: what comes is handled as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import ModelyardError, NoWeights
from ...schemas.transport import RequestData
from ...serving.messages import Prediction
from ..access_log import log as access_log
from ..body import CHUNK
from ..compression import LEAST, Packer, coding_of, packable, packed
from ..errors import Told, told_of
from ..predict import headers_of, remove
from ..terms import check_accepted
from .answers import begin
from .calls import Kind
from .shared import Shared

log = logging.getLogger(__name__)

_AHEAD = 1 << 20  # bytes that a client may send before it has read its answer
_GONE = 499


class _Call:
    """One call of a connection, from its head to its answer."""

    __slots__ = ("came", "drop", "folder", "kind", "request", "started")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.started = time.perf_counter()
        self.request: RequestData | None = None
        self.folder = ""
        self.came: Callable[[], None] | None = None  # while its body is coming
        self.drop: Callable[[], object] | None = None  # while it is asked


class Connection(asyncio.Protocol):
    """See the package. Its calls follow each other, as HTTP has it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._buffer = b""
        self._call: _Call | None = None
        self._skip = 0  # bytes to come of a body that was refused
        self._since = 0.0
        self._reading = False  # within _next
        self._held = False  # what the client sends waits in the kernel
        self._paused = False
        self._resumed: asyncio.Event | None = None

    # -- what the transport tells -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        self._since = self._shared.now()
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._shared.connections.discard(self)
        if self._resumed is not None:
            self._resumed.set()
        call, self._call = self._call, None
        if call is not None:
            if call.came is not None:
                call.came()
            if call.drop is not None:
                call.drop()
            self._shared.here.door.leave(self._peer)
            self._told(call, _GONE, None, None)

    def pause_writing(self) -> None:
        self._paused = True
        self._resumed = asyncio.Event()

    def resume_writing(self) -> None:
        self._paused = False
        if self._resumed is not None:
            self._resumed.set()
        if self._call is None:
            self._next()

    def data_received(self, data: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer = self._buffer + data if self._buffer else data
        call = self._call
        if call is None or call.request is None:
            self._next()
        elif len(self._buffer) > _AHEAD and self._transport is not None and not self._held:
            self._held = True
            self._transport.pause_reading()

    # -- requests -----------------------------------------------------------------------------

    def _next(self) -> None:
        """Begins with what has come, as far as it goes."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._buffer and self._transport is not None and not self._paused:
                if not self._read_call():
                    return
        finally:
            self._reading = False

    def _read_call(self) -> bool:
        """Takes a call out of what has come; False: nothing more can be done now."""
        call = self._call
        if call is None:
            end = self._buffer.find(b"\r\n\r\n") + 4
            kind = self._shared.kind(self._buffer[:end]) if end > 3 else None
            if kind is None:
                self._hand_over()
                return False
            self._buffer = self._buffer[end:]
            self._call = call = _Call(kind)
            try:
                self._shared.here.door.enter(self._peer, kind.served.handle.name)
            except ModelyardError as error:
                self._refuse(call, error)
                return True
        length = call.kind.length
        if len(self._buffer) < length:
            if call.came is None:
                self._since = self._shared.now()
                try:
                    call.came = call.kind.served.handle.expect(length)
                except ModelyardError as error:
                    self._shared.here.door.leave(self._peer)
                    self._refuse(call, error)
                    return True
            return False
        if call.came is not None:
            call.came()
            call.came = None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._ask(call, body)
        return self._call is None

    def _refuse(self, call: _Call, error: ModelyardError) -> None:
        """Answers at once, and lets the body pass."""
        length = call.kind.length
        self._skip = max(0, length - len(self._buffer))
        self._buffer = self._buffer[length:]
        self._write_error(call, told_of(error, "a predict call"))

    def _ask(self, call: _Call, body: bytes) -> None:
        kind = call.kind
        call.folder = self._shared.folder()
        call.request = request = kind.request(body, call.folder)
        handle = kind.served.handle
        try:
            asked = handle.submit(request, None, call.folder, kind.timeout_s, 1, kind.sticky)
        except NoWeights:
            task = self._shared.spawn(self._first(call))
            call.drop = task.cancel
            task.add_done_callback(self._answered)
            return
        except Exception as error:
            self._shared.here.door.leave(self._peer)
            self._write_error(call, told_of(error, "a predict call"))
            return
        call.drop = asked.leave
        asked.future.add_done_callback(self._answered)

    async def _first(self, call: _Call) -> Prediction:
        """The first version is being taken over at this moment, or is not here yet."""
        kind, request = call.kind, call.request
        assert request is not None
        handle = kind.served.handle
        limit = kind.timeout_s or handle.predict_timeout_s
        await self._shared.here.rooms.defaults.take(handle.name, limit)
        return await handle.predict(request, None, call.folder, kind.timeout_s)

    def _hand_over(self) -> None:
        """From here on the connection is the framework's."""
        transport, buffer = self._transport, self._buffer
        assert transport is not None
        self._transport, self._buffer = None, b""
        self._shared.connections.discard(self)
        protocol = self._shared.framework()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(buffer)

    # -- answers ------------------------------------------------------------------------------

    def _answered(self, future: asyncio.Future[Prediction]) -> None:
        call = self._call
        if call is None or self._transport is None:
            if not future.cancelled():
                future.exception()  # nobody wants to know
            return
        call.drop = None
        self._shared.here.door.leave(self._peer)
        if future.cancelled():
            self.abort()
            return
        error = future.exception()
        kind = call.kind
        request = call.request
        assert request is not None
        if error is None:
            prediction = future.result()
            try:
                check_accepted(kind.served.handle, kind.taken, request, prediction)
                head = self._shared.head_of(prediction)
            except Exception as refused:
                error = refused
        if error is not None:
            if request.parts:
                self._shared.spawn(remove(Path(call.folder)))
            self._write_error(call, told_of(error, "a predict call"))
            return
        body = prediction.body
        large = prediction.path is not None or len(body) >= LEAST
        if large and (prediction.path is not None or packable(prediction.content_type)):
            self._shared.spawn(self._send(call, prediction))
            return
        self._write(call, 200, head, body, prediction.weights_id)
        self._over(call, prediction)

    def _over(self, call: _Call, prediction: Prediction) -> None:
        """After the answer: a version that is tried may get a copy, else the folder goes."""
        assert call.request is not None
        kept = call.kind.served.handle.copied(call.request, call.folder, 1, prediction)
        if prediction.made and not kept:
            self._shared.spawn(remove(Path(call.folder)))

    def _write_error(self, call: _Call, told: Told) -> None:
        headers = {"Content-Type": told.content_type, **told.headers}
        self._write(call, told.status, begin(told.status, headers), told.body, None)

    def _write(
        self, call: _Call, status: int, head: bytes, body: bytes, version: str | None
    ) -> None:
        """The whole answer, in one piece; then the next call."""
        transport = self._transport
        assert transport is not None
        last = self._is_last(call)
        end = b"Connection: close\r\n\r\n" if last else b"\r\n"
        length = b"Content-Length: %d\r\n" % len(body)
        transport.write(b"".join((head, length, self._shared.clock.line(), end, body)))
        self._told(call, status, len(body), version)
        self._done(last)

    def _is_last(self, call: _Call) -> bool:
        return not call.kind.keeps_alive or self._shared.here.stopping.is_set()

    def _done(self, last: bool) -> None:
        self._call = None
        transport = self._transport
        if transport is None:
            return
        if last:
            transport.close()
            return
        self._since = self._shared.now()
        if self._held:
            self._held = False
            transport.resume_reading()
        if self._buffer:
            self._next()

    async def _send(self, call: _Call, prediction: Prediction) -> None:
        """A large answer: packed if the client takes that, a file piece by piece."""
        try:
            sent = await self._sent(call, prediction)
        except ConnectionResetError:
            return
        except Exception:
            log.exception("an answer was cut off: a predict call")
            self.abort()
            return
        finally:
            self._over(call, prediction)
        if self._call is call:
            self._told(call, 200, sent, prediction.weights_id)
            self._done(self._is_last(call))

    async def _sent(self, call: _Call, prediction: Prediction) -> int:
        headers = headers_of(prediction)
        coding = None
        if packable(prediction.content_type):
            headers["Vary"] = "Accept-Encoding"
            coding = coding_of(call.kind.accepted)
        if coding is not None:
            headers["Content-Encoding"] = coding
        end = b"Connection: close\r\n\r\n" if self._is_last(call) else b"\r\n"
        head = begin(200, headers) + self._shared.clock.line()
        if prediction.path is None:
            body = prediction.body
            if coding is not None:
                body = await asyncio.to_thread(packed, body, coding)
            await self._push(b"%sContent-Length: %d\r\n%s%s" % (head, len(body), end, body))
            return len(body)
        sent = 0
        with Path(prediction.path).open("rb") as file:
            if coding is None:
                size = Path(prediction.path).stat().st_size
                await self._push(b"%sContent-Length: %d\r\n%s" % (head, size, end))
                while chunk := await asyncio.to_thread(file.read, CHUNK):
                    await self._push(chunk)
                    sent += len(chunk)
                return sent
            packer = Packer(coding)
            await self._push(head + b"Transfer-Encoding: chunked\r\n" + end)
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                piece = await asyncio.to_thread(packer.pack, chunk)
                if piece:
                    await self._push(b"%x\r\n%s\r\n" % (len(piece), piece))
                    sent += len(piece)
            rest = packer.rest()
            await self._push(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))
            return sent + len(rest)

    async def _push(self, data: bytes) -> None:
        """Writes when the client has read enough of what came before."""
        if self._paused and self._resumed is not None:
            await self._resumed.wait()
        if self._transport is None:
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    # -- the end ------------------------------------------------------------------------------

    def _told(self, call: _Call, status: int, size: int | None, version: str | None) -> None:
        seconds = time.perf_counter() - call.started
        served = call.kind.served
        served.requests.add(status, seconds)
        if access_log.isEnabledFor(logging.INFO):
            line: dict[str, object] = {
                "method": "POST",
                "route": served.route,
                "model": served.handle.name,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "peer": self._peer,
                "bytes_in": call.kind.length,
                "bytes_out": size,
            }
            if version is not None:
                line["version"] = version
            if call.kind.trace is not None:
                line["trace"] = call.kind.trace
            access_log.info("request", extra=line)

    def close_if_idle(self) -> None:
        if self._call is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cuts the connection."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, idle_before: float, body_before: float) -> None:
        """Closes it if nothing has come for long: no request, or not the rest of one."""
        call = self._call
        if call is None and self._since < idle_before:
            self.close_if_idle()
        elif call is not None and call.request is None and self._since < body_before:
            self.abort()
