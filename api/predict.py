"""`POST /v2/models/{model}/predict/`: read the request, ask a worker, pass its answer through."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from ..clearing import remove_tree
from ..schemas.transport import LINES
from ..serving.messages import Prediction
from .body import ALL_IN_MEMORY, SENT
from .compression import Packer, coding_for, packable
from .lines import predict_lines
from .services import described_model_of, services
from .terms import Terms

_FEW = 8
_SMALL = 1024**2  # bytes


async def predict(request: web.Request) -> web.StreamResponse:
    """Answers one prediction, or one for each line of JSON lines.

    The call's folder is gone when the call is over, however it ends.
    """
    with services(request).door.entered(request):
        terms = Terms(request, await described_model_of(request))
        folder, kept = services(request).home.calls / uuid.uuid4().hex, False
        try:
            if request.content_type in LINES:
                return await predict_lines(request, terms, folder)
            response, kept = await _predict(request, terms, folder)
            return response
        finally:
            if not kept:
                await remove(folder)


async def _predict(
    request: web.Request, terms: Terms, folder: Path
) -> tuple[web.StreamResponse, bool]:
    """The answer, and whether the folder is somebody else's now."""
    with terms.handle.expect(_held(request)) as coming:
        data = await terms.reader(folder, coming).read()
    await terms.choose()
    terms.settle(data)
    prediction = await terms.ask(data, folder)
    response = await respond(request, prediction)
    return response, terms.copy(data, folder, prediction)


async def remove(folder: Path) -> None:
    """Removes a call's folder, also if the task is cancelled meanwhile."""
    if not _removed(folder):
        await asyncio.shield(asyncio.to_thread(remove_tree, folder))


def _removed(folder: Path) -> bool:
    """True if the call's folder is gone: small files go at once, a hop to a thread costs more."""
    try:
        with os.scandir(folder) as entries:
            files = list(entries)
        if len(files) > _FEW or any(file.stat().st_size > _SMALL for file in files):
            return False
        for file in files:
            Path(file.path).unlink()
        folder.rmdir()
    except FileNotFoundError:
        return True  # most calls need none
    except OSError:
        return False
    return True


async def respond(request: web.Request, prediction: Prediction) -> web.StreamResponse:
    """The answer as the worker wrote it; the call's folder may go only when this is over."""
    headers = headers_of(prediction)
    if prediction.path is None:
        return web.Response(body=prediction.body, headers=headers)
    return await _stream(request, Path(prediction.path), headers)


def headers_of(prediction: Prediction) -> dict[str, str]:
    """The headers of an answer that are the model's."""
    headers = {**prediction.headers, "Content-Type": prediction.content_type}
    if prediction.weights_id:
        headers["X-Modelyard-Weights"] = prediction.weights_id
    if prediction.filename:
        name = quote(Path(prediction.filename).name)
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return headers


async def _stream(request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
    """Streams a file of the call's folder: it is removed only after the last byte."""
    packer = None
    if packable(headers["Content-Type"]):
        headers["Vary"] = "Accept-Encoding"
        coding = coding_for(request)
        if coding is not None:
            headers["Content-Encoding"] = coding
            packer = Packer(coding)
    response = web.StreamResponse(headers=headers)
    with path.open("rb") as file:
        if packer is None:
            response.content_length = path.stat().st_size
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, SENT):
            if packer is not None:
                chunk = await asyncio.to_thread(packer.pack, chunk)
            await response.write(chunk)
        if packer is not None:
            await response.write(packer.rest())
    await response.write_eof()
    return response


def _held(request: web.Request) -> int:
    """Bytes of the body that are kept in memory, as far as its head tells; large files are not."""
    kind, length = request.content_type, request.content_length or 0
    in_memory = kind.endswith("json") or kind == "application/x-www-form-urlencoded"
    return length if in_memory else min(length, ALL_IN_MEMORY)
