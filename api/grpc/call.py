"""One call by gRPC, from its message to its line in the log. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc.aio import ServicerContext as Context

from ...errors import (
    DiskFull,
    InvalidRequest,
    ModelUnavailable,
    ModelyardError,
    NotSupported,
    PluginFailed,
)
from ..access.principal import NOBODY
from ..access_log import log as access_log
from ..access_log import trace_named
from ..errors import DISK_FULL
from ..infer import told_as
from ..metrics import GRPC, Metrics
from ..tracing import Followed, Tracing
from .codes import code_of, cut, trailers_of

log = logging.getLogger(__name__)

Read = TypeVar("Read", bound=Message)

_GONE = 499
_QUIET_S = 0.1
_LAST_S = 1.0
"""At the end: who comes again and again in spite of what it was told is waited for so long."""


class GrpcCall:
    """What a method needs to know of its call, and what the log tells of it: `model`, `version`,
    `trace`, and bytes that came (`size`) and were `answered`.

    gRPC's context is asked at the beginning only. The generator of a stream that its client has
    left may be closed by the garbage collector, which has emptied the context by then: to ask it
    for its peer is a segmentation fault (seen with grpcio 1.85).
    """

    def __init__(self, message: bytes, context: Context) -> None:
        self.model: str | None = None
        self.version: str | None = None
        self.trace: str | None = None
        self.size = len(message)
        self.answered = 0
        self.context = context
        # The address as HTTP has it: from `ipv4:127.0.0.1:4321`, `ipv6:%5B::1%5D:4321`.
        address = unquote(context.peer()).partition(":")[2]
        self.client: str = address.rpartition(":")[0].strip("[]")
        left: float | None = context.time_remaining()
        self._until = None if left is None else time.monotonic() + left
        self._message = message
        sent = tuple(context.invocation_metadata() or ())
        self._metadata = dict(sent)
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
        self.model = name
        self.principal.check_model(name)

    def read(self, kind: type[Read]) -> Read:
        """The message. Raises InvalidRequest."""
        try:
            return kind.FromString(self._message)
        except DecodeError as error:
            raise InvalidRequest(f"The message is no {kind.DESCRIPTOR.name}.") from error

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


class Calls:
    """The calls of one port: counts and logs each, and knows how many are under way.

    `closed`: those that come are told UNAVAILABLE, which sends their clients elsewhere. gRPC's own
    end would cancel what it has received and not yet handed to us, and nobody tries that again.
    """

    def __init__(self, metrics: Metrics, tracing: Tracing | None) -> None:
        self.closed = False
        self._metrics = metrics
        self._tracing = tracing
        self._under_way = 0
        self._last_came = 0.0

    def unary(self, route: str, method: Callable[[GrpcCall], Awaitable[Message]]) -> Any:
        """The method as gRPC calls it; `route` is its full name."""

        async def handle(message: bytes, context: Context) -> bytes:
            call = GrpcCall(message, context)
            async with self._concluded(route, call):
                answer = (await method(call)).SerializeToString()
                call.answered = len(answer)
                return answer

        return handle

    def streaming(self, route: str, method: Callable[[GrpcCall], AsyncIterator[Message]]) -> Any:
        """The same for one that answers with many messages."""

        async def handle(message: bytes, context: Context) -> AsyncIterator[bytes]:
            call = GrpcCall(message, context)
            async with self._concluded(route, call):
                async for one in method(call):
                    answer = one.SerializeToString()
                    call.answered += len(answer)
                    yield answer

        return handle

    def unknown(self) -> Any:
        """What answers every other method, whatever it streams."""

        async def handle(messages: object, context: Context) -> None:
            async with self._concluded("none", GrpcCall(b"", context)):
                raise NotSupported("There is no such method here.")

        return handle

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
            failure = _of_our_family(error, route)
            status, said = told_as(failure)
            code = code_of(failure)
            await call.context.abort(code, cut(said), trailers_of(failure))
        finally:
            self._under_way -= 1
            if followed is not None:
                followed.ended(status >= 500, {"rpc.grpc.status_code": code.value[0]})
            seconds = time.perf_counter() - started
            self._metrics.call_ended(route, call.model, status, seconds)
            if access_log.isEnabledFor(logging.INFO):
                access_log.info("request", extra=_line(route, call, status, code, seconds))

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
