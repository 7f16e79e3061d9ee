"""The Open Inference Protocol (V2) over HTTP, so that KServe's and Triton's clients work.

Only transport is read here: the worker translates (`models_plugin/inference.py`). Errors are
`{"error": "..."}`. Runs in the front.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from ..errors import InvalidArguments, InvalidRequest, ModelUnavailable, ModelyardError
from ..models_plugin.answers import json_bytes
from ..schemas.tensors import can_infer
from ..serving.handle import ModelHandle
from .access.principal import principal_of
from .discretion import discreet
from .errors import error_response, status_of
from .health import check_ready
from .models import get_model
from .predict import remove, respond
from .responses import json_response
from .services import described_model_of, model_of, services
from .terms import Terms

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _told_its_way(handler: Handler) -> Handler:
    """Errors in the protocol's form; wrong arguments are a 400 there."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ModelyardError as raised:
            error = discreet(request, raised)
            response = error_response(error)
            status, told = told_as(error)
            response.set_status(status)
            response.body = json_bytes({"error": told})
            response.content_type = "application/json"
            return response

    return handle


def told_as(error: ModelyardError) -> tuple[int, str]:
    """The HTTP status that the protocol has for an error, and what is said in one line."""
    if isinstance(error, InvalidArguments):
        return 400, "; ".join(_sentences(error.errors))
    return status_of(error), error.message


@_told_its_way
async def infer(request: web.Request) -> web.StreamResponse:
    """One prediction with tensors."""
    here = services(request)
    with here.door.entered(request):
        handle = await described_model_of(request)
        check_inferable(handle)
        terms = Terms(request, handle)
        folder, kept = here.home.calls / uuid.uuid4().hex, False
        try:
            with handle.expect(request.content_length or 0) as coming:
                data = await terms.reader(folder, coming).read_infer()
            await terms.choose(request.match_info.get("version"))
            terms.settle(data)
            prediction = await terms.ask(data, folder)
            response = await respond(request, prediction)
            kept = terms.copy(data, folder, prediction)
            return response
        finally:
            if not kept:
                await remove(folder)


def check_inferable(handle: ModelHandle) -> None:
    """Raises InvalidRequest for a model that clients of the protocol cannot call."""
    if handle.description is not None and not can_infer(handle.description):
        raise InvalidRequest(
            f"The model {handle.name!r} needs other arguments than tensors: call predict/."
        )


def is_ready(handle: ModelHandle) -> bool:
    """True if the model answers calls; the next one loads it if it was unloaded."""
    return handle.state in ("ready", "unloaded")


async def live(request: web.Request) -> web.StreamResponse:
    """Alive: the loop answers."""
    return json_response({"live": True})


@_told_its_way
async def ready(request: web.Request) -> web.StreamResponse:
    """Ready: the server can do its work, and every model can answer."""
    here = services(request)
    await check_ready(here, here.pool.all(), principal_of(request))
    return json_response({"ready": True})


@_told_its_way
async def model_ready(request: web.Request) -> web.StreamResponse:
    """200 if the model can answer, else 503: clients look at nothing else."""
    handle = model_of(request)
    await _check_version(request)
    if not is_ready(handle):
        raise ModelUnavailable(f"The model {handle.name!r} is not ready ({handle.state}).", 2.0)
    return json_response({"name": handle.name, "ready": True})


@_told_its_way
async def metadata(request: web.Request) -> web.StreamResponse:
    """The model, if there is such a version of it."""
    model_of(request)
    await _check_version(request)
    return await get_model(request)


async def _check_version(request: web.Request) -> None:
    """Raises WeightsNotFound if the address names a version that is not known."""
    version = request.match_info.get("version")
    if version is not None:
        await services(request).version(model_of(request).name, version)


def _sentences(errors: Mapping[str, Any], before: str = "") -> list[str]:
    """What is wrong with which argument, nested ones as `outer.inner`."""
    found = []
    for name, told in errors.items():
        if isinstance(told, Mapping):
            found += _sentences(told, f"{before}{name}.")
        else:
            found += [f"{before}{name}: {text}" for text in told] if isinstance(told, list) else []
    return found
