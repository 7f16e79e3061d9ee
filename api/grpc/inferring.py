"""One prediction with tensors, by gRPC: as `api/infer.py` does it over HTTP. Runs in the front."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from ...errors import DeadlineExceeded, EndpointDisabled, InvalidArguments
from ...schemas.model_operations import LONGEST_TIMEOUT_S
from ...schemas.transport import RequestData
from ...serving.handle import ModelHandle
from ...serving.messages import Prediction, WeightsRef
from ...storage.weights import PRODUCTION
from ..infer import check_inferable
from ..predict import remove
from ..services import Services, described, header_arguments
from .call import GrpcCall
from .open_inference_pb2 import ModelInferRequest, ModelInferResponse
from .translation import is_large, request_data, response_of, wants_raw

_NEVER = frozenset({"authorization", "cookie", "proxy-authorization"})
_SOONER_S = 0.005
"""The call ends so long before gRPC's own deadline does: it says where the time went."""


async def infer(here: Services, call: GrpcCall) -> ModelInferResponse:
    """Raises all that a prediction over HTTP does; an unknown version is a WeightsNotFound here."""
    if not here.settings.predict_endpoint:
        raise EndpointDisabled
    with here.door.entered_by(call.caller, None):
        request = await call.read(ModelInferRequest)
        name = request.model_name
        call.of_model(name)
        handle = await described(here.pool.get(name))
        check_inferable(handle)
        folder = here.home.calls / uuid.uuid4().hex
        kept = False
        try:
            with handle.expect(call.weight) as coming:
                coming.came(call.weight)
                call.settled()  # the queue counts it
                data = await _data(request, handle, call)
                version_name, raw = request.model_version, wants_raw(request)
                del request  # its numbers are in `data` now: once is enough while it waits
                version = await _version(here, handle, version_name, call)
            prediction = await here.predict(
                handle,
                data,
                version,
                folder,
                _limit_s(call),
                sticky=call.header("x-modelyard-sticky"),
            )
            call.version = prediction.weights_id
            response = await _response(prediction, raw)
            if version is None:
                kept = handle.copied(data, folder, prediction)
            return response
        finally:
            if not kept:
                await remove(folder)


async def _data(request: ModelInferRequest, handle: ModelHandle, call: GrpcCall) -> RequestData:
    wanted = header_arguments(handle, "predict") - _NEVER
    headers = {name: value for name in wanted if (value := call.header(name)) is not None}
    if is_large(request, call.size):
        return await asyncio.to_thread(request_data, request, headers)
    return request_data(request, headers)


async def _version(
    here: Services, handle: ModelHandle, name: str, call: GrpcCall
) -> WeightsRef | None:
    """The version that the request names; None: whichever is due."""
    choice = name or call.header("x-modelyard-weights")
    if not choice or (choice == PRODUCTION and handle.traffic.divided):
        return None
    if not handle.takes_weights:
        told = "This model chooses its weights by its own arguments."
        raise InvalidArguments({"model_version": [told]})
    version = await here.version(handle.name, choice)
    return await here.local(version, _limit_s(call) or handle.predict_timeout_s)


def _limit_s(call: GrpcCall) -> float | None:
    """What is left of the client's deadline, in seconds; None if it has none.

    Raises DeadlineExceeded.
    """
    left = call.left_s
    if left is None:
        return None
    if left <= 2 * _SOONER_S:
        raise DeadlineExceeded("The deadline had passed before the model was asked.")
    return min(left - _SOONER_S, LONGEST_TIMEOUT_S)


async def _response(prediction: Prediction, raw: bool) -> ModelInferResponse:
    body = prediction.body
    if prediction.path is not None:
        body = await asyncio.to_thread(Path(prediction.path).read_bytes)
        return await asyncio.to_thread(
            response_of, prediction.headers, body, prediction.weights_id, raw
        )
    return response_of(prediction.headers, body, prediction.weights_id, raw)
