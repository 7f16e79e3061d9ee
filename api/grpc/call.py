"""One call by gRPC, from its message to its line in the log. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc.aio import EOF, AbortError
from grpc.aio import ServicerContext as Context

from ...errors import (
    Busy,
    DiskFull,
    InvalidRequest,
    ModelUnavailable,
    ModelyardError,
    NotSupported,
    PluginFailed,
    TooSlow,
)
from ..access.principal import NOBODY
from ..access_log import log as access_log
from ..access_log import trace_named
from ..discretion import Discretion
from ..errors import DISK_FULL
from ..heads import for_logs
from ..infer import told_as
from ..metrics import GRPC, Metrics
from ..tracing import Followed, Tracing
from .codes import code_of, cut, trailers_of
from .reading import Places
from .taking import Untaken
from .weighing import weigh

log = logging.getLogger(__name__)

Read = TypeVar("Read", bound=Message)

_GONE = 499
_SETTLED_S = 0.2
"""After a stream without a message: what gRPC, or its client, has ended it with is here by then."""
_STREAMS = 1000
"""Answers of many messages that are under way at the same time: each has a task, and no key."""
_QUIET_S = 0.1
_LAST_S = 1.0
"""At the end: who comes again and again in spite of what it was told is waited for so long."""


class GrpcCall:
    """What a method needs to know of its call, and what the log tells of it: `model`, `version`,
    `trace`, and bytes that came (`size`), those in memory (`weight`), and those `answered`.

    gRPC's context is asked at the beginning only. The generator of a stream that its client has
    left may be closed by the garbage collector, which has emptied the context by then: to ask it
    for its peer is a segmentation fault (seen with grpcio 1.85).
    """

    def __init__(self, context: Context, receiving: Receiving) -> None:
        self.model: str | None = None
        self.version: str | None = None
        self.trace: str | None = None
        self.ended_with: ModelyardError | None = None
        self.size = 0
        self.weight = 0
        self.answered = 0
        self.context = context
        self.peer: str = context.peer()
        # The address as HTTP has it: from `ipv4:127.0.0.1:4321`, `ipv6:%5B::1%5D:4321`.
        address = unquote(self.peer).partition(":")[2]
        self.client: str = address.rpartition(":")[0].strip("[]")
        left: float | None = context.time_remaining()
        self._until = None if left is None else time.monotonic() + left
        self._receiving = receiving
        self._ending: asyncio.Task[None] | None = None
        sent = tuple(context.invocation_metadata() or ())
        self._metadata: dict[str, str | bytes] = {}
        for name, value in sent:
            # Of a name that comes twice: a list, as HTTP's (gRPC's protocol, Custom-Metadata).
            before = self._metadata.get(name)
            if isinstance(before, str) and isinstance(value, str):
                value = f"{before}, {value}"
            self._metadata[name] = value
        self.authorizations = [
            value for name, value in sent if name == "authorization" and isinstance(value, str)
        ]
        self.principal = NOBODY

    @property
    def caller(self) -> str:
        """What a limit per client counts by: the principal, else the address."""
        return self.principal.name or self.client

    def of_model(self, name: str) -> None:
        """Says which model it is about. Raises MissingPermission if that is not for the caller."""
        self.model = for_logs(name)
        self.principal.check_model(name)

    async def read(self, kind: type[Read]) -> Read:
        """The message: received now, when the call has a place for it, which it keeps to its end or
        until it is `settled`.

        Raises Busy if no place became free in time, TooSlow, TooLarge for what would become too
        much, InvalidRequest for what cannot be read, and NotSupported if there is none; of several
        it is the first, as in gRPC itself.
        """
        places, limit_s = self._receiving.places, self._receiving.limit_s
        await places.enter(self)
        timer = asyncio.get_running_loop().call_later(limit_s, self._too_slow)
        try:
            message = await self.context.read()
        finally:
            timer.cancel()
        if message is EOF:
            await asyncio.sleep(_SETTLED_S)
            raise NotSupported("Exactly one message belongs to this call; there was none.")
        if self.ended_with is not None:  # in the very turn in which the message came
            raise self.ended_with
        self.size = len(message)
        self.weight = weigh(message, kind.DESCRIPTOR, self._receiving.longest)
        try:
            return kind.FromString(message)
        except DecodeError as error:
            raise InvalidRequest(f"The message is no {kind.DESCRIPTOR.name}.") from error

    def settled(self) -> None:
        """The message is small, or counted elsewhere: others may receive theirs. More than once
        does no harm."""
        self._receiving.places.leave(self)

    def cut(self, error: ModelyardError) -> None:
        """Ends the call, whose message is on its way: gRPC's read must not be cancelled, which
        would free what the message is written to, so its stream is ended under it."""
        if self.ended_with is None:
            self.ended_with = error
            self._ending = asyncio.ensure_future(self._end(error))

    def _too_slow(self) -> None:
        told = f"The message did not come within {self._receiving.limit_s:g} s (client_timeout)."
        self.cut(TooSlow(told))

    async def _end(self, error: ModelyardError) -> None:
        try:
            await self.context.abort(code_of(error), cut(told_as(error)[1]), trailers_of(error))
        except AbortError:
            pass  # that is how it ends
        except Exception:  # its client has gone, say: there is nobody to tell
            log.debug("a call could not be told its end", exc_info=True)

    async def ended(self) -> ModelyardError | None:
        """What it was cut with, when that has been told; None: it was not."""
        if self._ending is not None:
            await asyncio.wait([self._ending])
        return self.ended_with

    @property
    def headers(self) -> dict[str, str]:
        """All texts that the client sent beside the message, by lower-case names."""
        return {name: value for name, value in self._metadata.items() if isinstance(value, str)}

    def header(self, name: str) -> str | None:
        """A value that the client sent beside the message, by its lower-case name."""
        value = self._metadata.get(name)
        return value if isinstance(value, str) else None

    @property
    def left_s(self) -> float | None:
        """What is left of the client's deadline, in seconds; None if it has none."""
        return None if self._until is None else self._until - time.monotonic()


@dataclass(frozen=True)
class Receiving:
    """How calls get their messages: a place first, then `limit_s` seconds. `longest`: bytes that
    one may have, as it comes and when it is read."""

    places: Places
    limit_s: float
    longest: int


class Calls:
    """The calls of one port: counts and logs each, and knows how many are under way.

    `closed`: those that come are told UNAVAILABLE, which sends their clients elsewhere. gRPC's own
    end would cancel what it has received and not yet handed to us, and nobody tries that again.
    """

    def __init__(
        self,
        metrics: Metrics,
        tracing: Tracing | None,
        untaken: Untaken,
        discretion: Discretion,
        *,
        callers: Receiving,
        strangers: Receiving,
    ) -> None:
        """`strangers` are those who need no key for what they call."""
        self.closed = False
        self._untaken = untaken
        self._callers = callers
        self._strangers = strangers
        self._metrics = metrics
        self._tracing = tracing
        self._discretion = discretion
        self._streams = 0
        self._under_way = 0
        self._last_came = 0.0

    def unary(
        self, route: str, method: Callable[[GrpcCall], Awaitable[Message]], *, strangers: bool
    ) -> Any:
        """The method as gRPC calls it, as one that takes a stream: the other kind is called when
        the message is here. `route` is its full name."""
        receiving = self._strangers if strangers else self._callers

        async def handle(messages: object, context: Context) -> bytes:
            call = GrpcCall(context, receiving)
            async with self._concluded(route, call):
                answer = (await method(call)).SerializeToString()
                call.answered = len(answer)
                self._untaken.given(call.peer, len(answer))
                return answer

        return handle

    def streaming(self, route: str, method: Callable[[GrpcCall], AsyncIterator[Message]]) -> Any:
        """The same for one that answers with many messages, to whom it may be."""

        async def handle(messages: object, context: Context) -> AsyncIterator[bytes]:
            call = GrpcCall(context, self._strangers)
            async with self._concluded(route, call), self._streamed():
                async for one in method(call):
                    answer = one.SerializeToString()
                    call.answered += len(answer)
                    yield answer

        return handle

    def unknown(self) -> Any:
        """What answers every other method, whatever it streams."""

        async def handle(messages: object, context: Context) -> None:
            async with self._concluded("none", GrpcCall(context, self._strangers)):
                raise NotSupported("There is no such method here.")

        return handle

    @asynccontextmanager
    async def _streamed(self) -> AsyncIterator[None]:
        """One of the streams. Raises Busy."""
        if self._streams >= _STREAMS:
            raise Busy(f"{_STREAMS} calls are answered with streams already.")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def over(self, limit_s: float) -> None:
        """Returns when no call is under way, and none has come for a moment; or after `limit_s`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit_s
        quiet = until
        while loop.time() < until and loop.time() < quiet:
            if self._under_way:
                quiet = until
            elif quiet == until:
                quiet = min(until, loop.time() + _LAST_S)
            elif loop.time() - self._last_came > _QUIET_S:
                return
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def _concluded(self, route: str, call: GrpcCall) -> AsyncIterator[None]:
        """The block answers the call: its errors become statuses."""
        started = time.perf_counter()
        self._last_came = asyncio.get_running_loop().time()
        self._under_way += 1
        status, code = 200, StatusCode.OK
        followed = self._followed(route, call)
        try:
            if self.closed:
                raise ModelUnavailable("The server is stopping.")
            yield
        except (asyncio.CancelledError, GeneratorExit):
            status, code = _GONE, StatusCode.CANCELLED
            if call.left_s is not None and call.left_s <= 0:
                status, code = 504, StatusCode.DEADLINE_EXCEEDED
            raise
        except Exception as error:
            if (told := await call.ended()) is not None:
                # gRPC ends the handler itself: it knows that the call has been aborted.
                status, code = told_as(told)[0], code_of(told)
                _let_go(error)
                return
            status, code, said, trailers = self._told(error, route, call)
            try:
                await call.context.abort(code, said, trailers)
            except AbortError as aborted:
                _let_go(aborted)
                raise
        finally:
            call.settled()
            self._under_way -= 1
            if followed is not None:
                followed.ended(status >= 500, {"rpc.grpc.status_code": code.value[0]})
            seconds = time.perf_counter() - started
            self._metrics.call_ended(route, call.model, status, seconds)
            if access_log.isEnabledFor(logging.INFO):
                access_log.info("request", extra=_line(route, call, status, code, seconds))

    def _told(
        self, error: Exception, route: str, call: GrpcCall
    ) -> tuple[int, StatusCode, str, tuple[tuple[str, str], ...]]:
        """What is told of an error: by HTTP's status, gRPC's, in words and by trailers. Not the
        error: whoever has passed it on and keeps it is in a circle with it."""
        failure = self._discretion.error(_of_our_family(error, route), call.principal)
        status, said = told_as(failure)
        return status, code_of(failure), cut(said), trailers_of(failure)

    def _followed(self, route: str, call: GrpcCall) -> Followed | None:
        if self._tracing is None:
            return None
        about = {"rpc.system": "grpc", "rpc.method": route}
        followed = self._tracing.begun(f"{GRPC} {route}", call.headers, about)
        call.trace = followed.trace
        return followed


def _of_our_family(error: Exception, route: str) -> ModelyardError:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return DiskFull()
    if isinstance(error, ModelyardError):
        if isinstance(error, PluginFailed) and error.traceback:
            log.error("%s\n%s", error.message, error.traceback)
        return error
    log.error("a fault of the server: %s", route, exc_info=error)
    return ModelyardError("The server itself failed; its log says why.")


def _let_go(aborted: BaseException) -> None:
    """Takes from what gRPC keeps of an aborted call, when that is over, what it had passed.

    Its abort is in a circle with the call, by the frames that it came through, and with it the
    message was there until the garbage collector came by. Frames are not cleared: errors that
    several calls got have passed some that are still at work.
    """

    def forget(_: object) -> None:
        aborted.__traceback__ = aborted.__context__ = None

    task = asyncio.current_task()
    assert task is not None, "gRPC calls a handler in a task"
    task.add_done_callback(forget)


def _line(
    route: str, call: GrpcCall, status: int, code: StatusCode, seconds: float
) -> dict[str, Any]:
    """The line of the access log: HTTP's, with gRPC's own status as `code`."""
    line: dict[str, Any] = {
        "method": GRPC,
        "route": route,
        "model": call.model,
        "status": status,
        "code": code.name,
        "ms": round(seconds * 1000, 2),
        "peer": call.client,
        "bytes_in": call.size,
        "bytes_out": call.answered,
    }
    if call.principal.name:
        line["principal"] = call.principal.name
    if call.version is not None:
        line["version"] = call.version
    if trace := call.trace or trace_named(call.header("traceparent") or ""):
        line["trace"] = trace
    return line
