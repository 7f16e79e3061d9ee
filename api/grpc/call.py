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

from ...errors import DiskFull, InvalidRequest, ModelyardError, PluginFailed
from ..access_log import log as access_log
from ..access_log import trace_named
from ..errors import DISK_FULL
from ..infer import told_as
from ..metrics import GRPC, Metrics
from .codes import code_of, cut, trailers_of

log = logging.getLogger(__name__)

Read = TypeVar("Read", bound=Message)

_GONE = 499


class GrpcCall:
    """What a method needs to know of its call, and what the log tells of it: `model`, `version`,
    and bytes that came (`size`) and were `answered`."""

    def __init__(self, message: bytes, context: Context) -> None:
        self.model: str | None = None
        self.version: str | None = None
        self.size = len(message)
        self.answered = 0
        self.context = context
        self._message = message
        self._metadata = dict(context.invocation_metadata() or ())

    def read(self, kind: type[Read]) -> Read:
        """The message. Raises InvalidRequest."""
        try:
            return kind.FromString(self._message)
        except DecodeError as error:
            raise InvalidRequest(f"The message is no {kind.DESCRIPTOR.name}.") from error

    def header(self, name: str) -> str | None:
        """A value that the client sent beside the message, by its lower-case name."""
        value = self._metadata.get(name)
        return value if isinstance(value, str) else None

    @property
    def left_s(self) -> float | None:
        """What is left of the client's deadline, in seconds; None if it has none."""
        left: float | None = self.context.time_remaining()
        return left

    @property
    def client(self) -> str:
        """The client's address, as HTTP has it: `ipv4:127.0.0.1:4321`, `ipv6:%5B::1%5D:4321`."""
        address = unquote(self.context.peer()).partition(":")[2]
        return address.rpartition(":")[0].strip("[]")


def unary(route: str, method: Callable[[GrpcCall], Awaitable[Message]], metrics: Metrics) -> Any:
    """The method as gRPC calls it; `route` is its full name."""

    async def handle(message: bytes, context: Context) -> bytes:
        call = GrpcCall(message, context)
        async with concluded(route, call, metrics):
            answer = (await method(call)).SerializeToString()
            call.answered = len(answer)
            return answer

    return handle


def streaming(
    route: str, method: Callable[[GrpcCall], AsyncIterator[Message]], metrics: Metrics
) -> Any:
    """The same for one that answers with many messages."""

    async def handle(message: bytes, context: Context) -> AsyncIterator[bytes]:
        call = GrpcCall(message, context)
        async with concluded(route, call, metrics):
            async for one in method(call):
                answer = one.SerializeToString()
                call.answered += len(answer)
                yield answer

    return handle


@asynccontextmanager
async def concluded(route: str, call: GrpcCall, metrics: Metrics) -> AsyncIterator[None]:
    """Of the block that answers a call: errors become statuses, and it is logged and counted."""
    started = time.perf_counter()
    status, code = 200, StatusCode.OK
    try:
        yield
    except asyncio.CancelledError:
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
        seconds = time.perf_counter() - started
        metrics.call_ended(route, call.model, status, seconds)
        if access_log.isEnabledFor(logging.INFO):
            access_log.info("request", extra=_line(route, call, status, code, seconds))


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
    if call.version is not None:
        line["version"] = call.version
    if trace := trace_named(call.header("traceparent") or ""):
        line["trace"] = trace
    return line
