"""The port of gRPC, on the front's own loop: what is served there, and how it opens and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
from aiohttp import web
from grpc import aio

from ...errors import CannotStart
from ...settings import Settings
from ..body import TEXT_LIMIT
from ..discretion import Discretion
from ..metrics import Metrics
from ..port.pace import Limits
from ..port.tls import Certificate, certificate_of
from ..services import Services
from ..tracing import Tracing
from .admitting import admitted
from .call import Calls, Receiving
from .checking import check, watch
from .methods import METHODS
from .reading import SharedPlaces, StrangersPlaces
from .taking import Untaken

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
_STREAMS = 1000
"""Calls at the same time by one connection; clients keep back what is beyond."""
_IDENTITY_ALONE = 1
"""Of gRPC's bits of message encodings. What gzip makes of a message is bounded by nothing."""


class GrpcPort:
    """Serves the protocol and the health check on a port of its own. See `api/grpc_port.py`."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing | None) -> None:
        self.port = settings.grpc_port or 0
        self._grace_s = settings.stop_timeout
        self._certificate = certificate_of(settings)
        self._largest = min(settings.client_max_size or TEXT_LIMIT, TEXT_LIMIT)
        limits = Limits.of(settings)
        limit_s = limits.client_s
        self._untaken = Untaken(metrics, limits)
        self._calls = Calls(
            metrics,
            tracing,
            self._untaken,
            Discretion(settings),
            callers=Receiving(SharedPlaces(self._largest, limit_s), limit_s, self._largest),
            strangers=Receiving(StrangersPlaces(), limit_s, self._largest),
        )
        self._options = _options(settings, self._largest)
        self._server: aio.Server | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    def bind(self, host: str) -> None:
        """Takes the port; nobody is answered yet. Raises CannotStart."""
        self._server = aio.server(options=self._options)
        shown = f"[{host}]" if ":" in host else host
        try:
            if self._certificate is None:
                self.port = self._server.add_insecure_port(f"{shown}:{self.port}")
            else:
                renewed = _configured(self._certificate)
                pair = grpc.dynamic_ssl_server_credentials(renewed(), renewed)
                self.port = self._server.add_secure_port(f"{shown}:{self.port}", pair)
        except RuntimeError as error:
            raise CannotStart(
                f"Cannot listen on {host} port {self.port} for gRPC. Choose another with "
                "--grpc-port."
            ) from error

    async def start(self, here: Services) -> None:
        """Begins to answer."""
        assert self._server is not None, "bind() comes first"
        if self._certificate is not None:
            self._following = asyncio.ensure_future(self._certificate.follow())
        self._server.add_generic_rpc_handlers((_Methods(here, self._calls),))
        await self._server.start()

    def leave(self, after_s: float) -> None:
        """Takes new calls for so many seconds more; those under way then have `stop_timeout`."""
        self._leaving = asyncio.ensure_future(self._leave(after_s))

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`: at its end no call is under way."""
        yield
        if self._following is not None:
            self._following.cancel()
        if self._leaving is not None:
            await self._leaving
        elif self._server is not None:
            await self._server.stop(None)
        self._untaken.close()

    async def _leave(self, after_s: float) -> None:
        assert self._server is not None
        await asyncio.sleep(after_s)
        self._calls.closed = True
        await self._calls.over(self._grace_s)
        await self._server.stop(None)


def _options(settings: Settings, largest: int) -> list[tuple[str, int]]:
    """Of the port, as grpc/impl/channel_arg_names.h names them; `largest` message in bytes."""
    return [
        ("grpc.so_reuseport", 0),  # else a second server would share the port
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", -1),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ALONE),
        # It makes the window larger where much comes at once, to 16 MB of what nobody asked for.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", round(settings.client_timeout * 1000)),
        # Whoever has vanished does not answer a ping. Answers may stand in line behind much else.
        ("grpc.keepalive_time_ms", round(settings.idle_timeout * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.client_timeout * 2000)),
        ("grpc.http2.ping_timeout_ms", round(settings.client_timeout * 2000)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _configured(certificate: Certificate) -> Callable[[], grpc.ServerCertificateConfiguration]:
    """What gRPC asks, in a thread of its own, for each new connection."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([certificate.pem()])

    return configuration


class _Methods(grpc.GenericRpcHandler):
    """Every method by its full name. Messages stay bytes: those that cannot be read are ours to
    tell of, and to count."""

    def __init__(self, here: Services, calls: Calls) -> None:
        self._handlers: dict[str, Any] = {}
        for name, (method, needed) in METHODS.items():
            route, anybody = f"/{SERVICE}/{name}", needed is None
            method = method if needed is None else admitted(route, method, needed)
            self._unary(route, calls.unary(route, partial(method, here), strangers=anybody))
        route = f"/{HEALTH}/Check"
        self._unary(route, calls.unary(route, partial(check, here), strangers=True))
        route = f"/{HEALTH}/Watch"
        watching = calls.streaming(route, partial(watch, here))
        self._handlers[route] = grpc.stream_stream_rpc_method_handler(watching)
        self._other = grpc.stream_stream_rpc_method_handler(calls.unknown())

    def _unary(self, route: str, handler: Any) -> None:
        # Of a method that takes one message gRPC reads it first, before anybody is asked.
        self._handlers[route] = grpc.stream_unary_rpc_method_handler(handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handlers.get(handler_call_details.method, self._other)
