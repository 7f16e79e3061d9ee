"""Whether there is a port for gRPC: `--grpc-port N`, with libraries that are an extra."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import web

from ..errors import CannotStart
from ..settings import Settings
from .metrics import Metrics
from .services import Services
from .tracing import Tracing


class GrpcPort(Protocol):
    """What the server does with it, in this order; `port` is its number once it is bound."""

    port: int

    def bind(self, host: str) -> None:
        """Takes the port at this address. Raises CannotStart."""

    async def start(self, here: Services) -> None:
        """Begins to answer."""

    def leave(self, after_s: float) -> None:
        """Ends in so many seconds; calls that are under way then have `stop_timeout`."""

    def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`: at its end no call is under way."""


GRPC_PORT = web.AppKey("grpc_port", GrpcPort)


def open_grpc(settings: Settings, metrics: Metrics, tracing: Tracing | None) -> GrpcPort:
    """The port, for `api/server.py` to bind and start. Raises CannotStart without the extra."""
    try:
        # Only here: the library takes some megabytes, and threads of its own.
        from .grpc.port import GrpcPort as Port
    except ImportError as error:
        raise CannotStart(
            f"--grpc-port needs grpcio and protobuf, which are not installed ({error}): "
            "pip install 'modelyard[grpc]'."
        ) from error
    return Port(settings, metrics, tracing)
