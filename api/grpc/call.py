"""One call by gRPC, from its message to its line in the log. Runs in the front, on its loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc.aio import ServicerContext

from ...errors import DiskFull, InvalidRequest, ModelyardError, PluginFailed
from ..access_log import log as access_log
from ..access_log import trace_named
from ..errors import DISK_FULL
from ..infer import told_as
from ..metrics import GRPC, Metrics
from .codes import code_of, cut, trailers_of

log = logging.getLogger(__name__)

Context = ServicerContext
Read = TypeVar("Read", bound=Message)

_GONE = 499


class GrpcCall:
    """What a method needs to know of its call. `model` and `version` are for the log."""

    def __init__(self, message: bytes, context: Context) -> None:
        self.model: str | None = None
        self.version: str | None = None
        self.size = len(message)
        self._message = message
        self._context = context
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
        left: float | None = self._context.time_remaining()
        return left

    @property
    def client(self) -> str:
        """The client's address, as HTTP has it: `ipv4:127.0.0.1:4321`, `ipv6:%5B::1%5D:4321`."""
        address = unquote(self._context.peer()).partition(":")[2]
        return address.rpartition(":")[0].strip("[]")


Method = Callable[[GrpcCall], Awaitable[Message]]
Handler = Callable[[bytes, Context], Awaitable[bytes]]


def told(route: str, method: Method, metrics: Metrics) -> Handler:
    """The method as gRPC calls it: errors become statuses, and each call is logged and counted.

    `route` is the method's full name.
    """

    async def handle(message: bytes, context: Context) -> bytes:
        call = GrpcCall(message, context)
        started = time.perf_counter()
        status, code, size = 500, StatusCode.UNKNOWN, 0
        try:
            answer = (await method(call)).SerializeToString()
            status, code, size = 200, StatusCode.OK, len(answer)
            return answer
        except asyncio.CancelledError:
            over = call.left_s is not None and call.left_s <= 0
            status = 504 if over else _GONE
            code = StatusCode.DEADLINE_EXCEEDED if over else StatusCode.CANCELLED
            raise
        except Exception as error:
            failure = _of_our_family(error, route)
            status, code = told_as(failure)[0], code_of(failure)
            await _refuse(context, failure)
        finally:
            seconds = time.perf_counter() - started
            metrics.call_ended(route, call.model, status, seconds)
            if access_log.isEnabledFor(logging.INFO):
                access_log.info("request", extra=_line(route, call, status, code, size, seconds))

    return handle


def _of_our_family(error: Exception, route: str) -> ModelyardError:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return DiskFull()
    if isinstance(error, ModelyardError):
        if isinstance(error, PluginFailed) and error.traceback:
            log.error("%s\n%s", error.message, error.traceback)
        return error
    log.error("a fault of the server: %s", route, exc_info=error)
    return ModelyardError("The server itself failed; its log says why.")


async def _refuse(context: Context, error: ModelyardError) -> NoReturn:
    await context.abort(code_of(error), cut(told_as(error)[1]), trailers_of(error))
    raise AssertionError("abort() has returned")


def _line(
    route: str, call: GrpcCall, status: int, code: StatusCode, size: int, seconds: float
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
        "bytes_out": size,
    }
    if call.version is not None:
        line["version"] = call.version
    if trace := trace_named(call.header("traceparent") or ""):
        line["trace"] = trace
    return line
