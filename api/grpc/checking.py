"""The standard health check of gRPC: whether this server takes calls. Runs in the front.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md. Known are the server as a whole (an
empty name) and the inference service, which say the same; a model's state is told by `ModelReady`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ...errors import NotFound
from ..services import Services
from .call import GrpcCall
from .health_pb2 import HealthCheckRequest, HealthCheckResponse
from .methods import can_serve

KNOWN = ("", "inference.GRPCInferenceService")
_LOOK_S = 1.0


async def check(here: Services, call: GrpcCall) -> HealthCheckResponse:
    """Raises NotFound for another service."""
    if not await _is_known(call):
        raise NotFound("There is no such service here.")
    return HealthCheckResponse(status=await _status(here))


async def watch(here: Services, call: GrpcCall) -> AsyncIterator[HealthCheckResponse]:
    """The status, and each change of it, until the server stops."""
    if not await _is_known(call):
        yield HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        await here.stopping.wait()
        return
    last = None
    while True:
        stopping = here.stopping.is_set()
        status = await _status(here)
        if status != last:
            last = status
            yield HealthCheckResponse(status=status)
        if stopping:
            return
        try:
            await asyncio.wait_for(here.stopping.wait(), _LOOK_S)
        except TimeoutError:
            continue


async def _is_known(call: GrpcCall) -> bool:
    known = (await call.read(HealthCheckRequest)).service in KNOWN
    call.settled()
    return known


async def _status(here: Services) -> HealthCheckResponse.ServingStatus:
    ready = await can_serve(here, every_model=False)
    return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
