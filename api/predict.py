"""`POST /v2/models/{model}/predict/`: read the request, ask a worker, pass its answer through."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import uuid
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from ..errors import InvalidArguments, NotAcceptable, NoWeights
from ..models_plugin.accept import choose
from ..schemas.model_operations import LONGEST_TIMEOUT_S, SHORTEST_TIMEOUT_S
from ..serving.handle import ModelHandle
from ..serving.messages import Prediction, WeightsRef
from .body import CHUNK, ModelRequestReader
from .services import (
    Services,
    argument_names,
    described_model_of,
    header_arguments,
    server_parameter,
    services,
    telling_where,
)


async def predict(request: web.Request) -> web.StreamResponse:
    """Answers one prediction. The call's folder is gone when the call is over, however it ends."""
    with services(request).door.entered(request):
        return await _predict(request)


async def _predict(request: web.Request) -> web.StreamResponse:
    handle = await described_model_of(request)
    here = services(request)
    folder = here.home.calls / uuid.uuid4().hex
    taken = argument_names(handle, "predict")
    timeout = _timeout(request)
    try:
        with handle.coming(_held(request)):
            data = await ModelRequestReader(
                request,
                folder,
                here.settings.client_max_size,
                headers=header_arguments(handle, "predict"),
            ).read()
        choice = server_parameter(request, taken, "weights")
        limit = timeout or handle.predict_timeout_s
        reference = None if choice is None else await _chosen(here, handle, choice, limit)
        if "accept" not in taken and "accept" in request.query:
            data.accept = request.query["accept"]
        items = max(1, len(data.files))
        ours = {"weights", "accept"} - taken
        data.query = [pair for pair in data.query if pair[0] not in ours]
        try:
            with telling_where("weights"):
                prediction = await handle.predict(data, reference, folder, timeout, items)
        except NoWeights:
            # The first version is being taken over at this moment, or is not here yet.
            await here.rooms.defaults.take(handle.name, limit)
            prediction = await handle.predict(data, reference, folder, timeout, items)
        # With an argument `accept` the plugin has chosen already, and the argument wins.
        # DEEPaaS never looked at the header without it, so clients may have sent anything.
        ours_to_refuse = handle.takes_weights and "accept" not in taken
        if ours_to_refuse and choose(data.accept, [prediction.content_type]) is None:
            raise NotAcceptable(
                f"This model answered with {prediction.content_type}; "
                f"the request accepts only {data.accept[:200]}."
            )
        return await _respond(request, handle, prediction)
    finally:
        if folder.exists():
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _chosen(here: Services, handle: ModelHandle, choice: str, limit_s: float) -> WeightsRef:
    """The version that the client chose by the server's own parameter."""
    if handle.takes_weights:
        return await here.weights_ref(handle.name, choice, limit_s)
    names = sorted(argument_names(handle, "predict"))
    told = [name for name in names if re.search("weight|model|checkpoint|version|timestamp", name)]
    raise InvalidArguments(
        {
            "weights": [
                "This model chooses its weights by its own arguments: "
                f"{', '.join(told or names) or 'it has none'}."
            ]
        }
    )


async def _respond(
    request: web.Request, handle: ModelHandle, prediction: Prediction
) -> web.StreamResponse:
    headers = {"Content-Type": prediction.content_type}
    if prediction.weights_id:
        headers["X-Modelyard-Weights"] = prediction.weights_id
    if prediction.filename:
        name = quote(Path(prediction.filename).name)
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    if prediction.path is None:
        return web.Response(body=prediction.body, headers=headers)
    return await _stream(request, Path(prediction.path), headers)


async def _stream(request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
    """Streams a file of the call's folder: it is removed only after the last byte."""
    response = web.StreamResponse(headers=headers)
    with path.open("rb") as file:
        response.content_length = path.stat().st_size
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            await response.write(chunk)
    await response.write_eof()
    return response


def _held(request: web.Request) -> int:
    """Bytes of the body that are kept in memory, as far as its head tells; files go to the disk."""
    kind = request.content_type
    in_memory = kind.endswith("json") or kind == "application/x-www-form-urlencoded"
    return (request.content_length or 0) if in_memory else 0


def _timeout(request: web.Request) -> float | None:
    """The client's own deadline in seconds, by the header `X-Request-Timeout`."""
    text = request.headers.get("X-Request-Timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST_TIMEOUT_S <= seconds <= LONGEST_TIMEOUT_S:
        raise InvalidArguments(
            {
                "X-Request-Timeout": [
                    f"Give seconds, from {SHORTEST_TIMEOUT_S:g} to {LONGEST_TIMEOUT_S:g}."
                ]
            }
        )
    return seconds
