"""The methods of the protocol's service, beside ModelInfer. Runs in the front."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from ... import __version__
from ...errors import ModelUnavailable, StorageUnavailable
from ...schemas.permissions import Permission
from ...schemas.tensors import tensor_metadata
from ..access.principal import NOBODY
from ..health import check_ready
from ..infer import is_ready
from ..models import CHOICES_SHOWN
from ..services import Services, described
from . import open_inference_pb2 as pb
from .call import GrpcCall
from .inferring import infer

Tensor = pb.ModelMetadataResponse.TensorMetadata


async def server_live(here: Services, call: GrpcCall) -> Message:
    """Alive: the loop answers."""
    return pb.ServerLiveResponse(live=True)


async def server_ready(here: Services, call: GrpcCall) -> Message:
    """Whether the server can do its work, and every model can answer."""
    return pb.ServerReadyResponse(ready=await can_serve(here, every_model=True))


async def model_ready(here: Services, call: GrpcCall) -> Message:
    """Whether the model can answer. Raises ModelNotFound and WeightsNotFound."""
    request = await call.read(pb.ModelReadyRequest)
    call.of_model(request.name)
    handle = here.pool.get(request.name)
    if request.version:
        await here.version(request.name, request.version)
    return pb.ModelReadyResponse(ready=is_ready(handle) and not here.stopping.is_set())


async def server_metadata(here: Services, call: GrpcCall) -> Message:
    """Which server this is; extensions of the protocol are HTTP's alone."""
    return pb.ServerMetadataResponse(name="modelyard", version=__version__)


async def model_metadata(here: Services, call: GrpcCall) -> Message:
    """The model's tensors and versions. Raises ModelNotFound and WeightsNotFound."""
    request = await call.read(pb.ModelMetadataRequest)
    call.of_model(request.name)
    handle = await described(here.pool.get(request.name))
    if request.version:
        await here.version(request.name, request.version)
    newest = await here.rooms.versions.list(request.name, CHOICES_SHOWN)
    told: Any = handle.description
    return pb.ModelMetadataResponse(
        name=request.name,
        versions=[version.id for version in newest],
        platform="modelyard",
        inputs=_tensors(told.predict_arguments if told else None),
        outputs=_tensors(told.predict_response if told else None),
    )


def _tensors(fields: Any) -> list[Tensor]:
    return [Tensor(**one) for one in tensor_metadata(fields)]


async def can_serve(here: Services, every_model: bool) -> bool:
    """False if the server cannot do its work, or is stopping."""
    try:
        await check_ready(here, here.pool.all() if every_model else (), NOBODY)
    except (ModelUnavailable, StorageUnavailable):
        return False
    return True


METHODS: Mapping[str, tuple[Any, Permission | None]] = MappingProxyType(
    {
        "ServerLive": (server_live, None),
        "ServerReady": (server_ready, None),
        "ModelReady": (model_ready, Permission.READ),
        "ServerMetadata": (server_metadata, Permission.READ),
        "ModelMetadata": (model_metadata, Permission.READ),
        "ModelInfer": (infer, Permission.PREDICT),
    }
)
"""Each with what its caller needs; None: nothing."""
