"""`/v2/datasets/uploads/`: large files in parts, that go on where a connection was lost."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Any

from aiohttp import web

from ..errors import Conflict, InvalidArguments, InvalidRequest
from ..schemas.dataset_resources import UploadSchema
from ..storage.datasets.naming import name_from
from ..storage.datasets.uploads import Upload, described
from .access.enforcing import confirm
from .access.principal import principal_of
from .body import CHUNK
from .datasets import answered, chosen_reader, shown_model
from .heads import listed
from .idempotency import thing_of
from .responses import json_response
from .room import require
from .services import BODY, Services, services
from .unpacked import content_of, refuse_encoded
from .upload_desk import BUSY

WAIT_S = 20.0
"""How long completing an upload waits for the dataset; large ones are asked for again."""
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


async def begin(request: web.Request) -> web.StreamResponse:
    """An upload to which parts may be sent, in any order, several at a time."""
    here = services(request)
    body = request[BODY]
    await require(here, body["size"])
    upload = await asyncio.to_thread(
        here.rooms.desk.uploads.create,
        body["filename"],
        body["size"],
        here.settings.client_max_size,
        sha256=body.get("sha256"),
        name=body.get("name") or name_from(body["filename"]),
        model=chosen_reader(here, principal_of(request), body.get("model")),
        principal=principal_of(request).name,
        upload_id=thing_of(request),
    )
    return await _answer(request, upload, 201)


async def get_upload(request: web.Request) -> web.StreamResponse:
    """Which parts are here, and what becomes of it."""
    here = services(request)
    return await _answer(request, await _upload(request, here))


async def put_part(request: web.Request) -> web.StreamResponse:
    """One part. It is on disk when this answers; sent again it replaces the first."""
    here = services(request)
    upload = await _upload(request, here)
    number = _number(request.match_info["number"])
    expected = upload.size_of(number)
    _refuse_if_busy(here, upload)
    wanted = _digest_of(request)
    refuse_encoded(request)
    if request.content_length not in (None, expected):
        raise InvalidArguments({"body": [f"Part {number} has {expected} bytes."]})
    part = await asyncio.to_thread(here.rooms.desk.uploads.part, upload, number)
    try:
        async for chunk in content_of(request).iter_chunked(CHUNK):
            await asyncio.to_thread(part.write, chunk)
        await confirm(request)
        _refuse_if_busy(here, upload)
        await asyncio.shield(asyncio.to_thread(part.commit, wanted))
    finally:
        await asyncio.shield(asyncio.to_thread(part.close))
    return web.Response(status=204)


async def complete(request: web.Request) -> web.StreamResponse:
    """All parts are here: they become a dataset. 202 while that takes longer."""
    here = services(request)
    upload = await _upload(request, here)
    if upload.dataset is None:
        received = set(await asyncio.to_thread(here.rooms.desk.uploads.received, upload))
        missing = sorted(set(range(1, upload.parts + 1)) - received)
        upload = await _upload(request, here)  # somebody may have completed it meanwhile
        if missing and upload.dataset is None:
            raise Conflict(f"These parts are missing: {described(missing)}.", missing=missing[:100])
    done = await here.rooms.desk.complete(upload, WAIT_S)
    if done is None or done.dataset is None:
        return await _answer(request, upload, 202)
    record = await here.rooms.datasets.get(done.dataset)
    return answered(here, principal_of(request), record, done.created)


async def remove(request: web.Request) -> web.StreamResponse:
    """Gives an upload up, with all that came. What has become a dataset stays."""
    here = services(request)
    upload = await _upload(request, here)
    _refuse_if_busy(here, upload)
    await here.rooms.desk.remove(upload)
    return web.Response(status=204)


async def _upload(request: web.Request, here: Services) -> Upload:
    return await asyncio.to_thread(here.rooms.desk.uploads.get, request.match_info["id"])


async def _answer(request: web.Request, upload: Upload, status: int = 200) -> web.Response:
    here = services(request)
    received = await asyncio.to_thread(here.rooms.desk.uploads.received, upload)
    path = here.url(f"/v2/datasets/uploads/{upload.id}")
    data: dict[str, Any] = {
        **vars(upload),
        "model": shown_model(principal_of(request), upload.model),
        **here.rooms.desk.state(upload),
        "parts": received,
        "part_count": upload.parts,
        "links": {"self": path, "parts": f"{path}/parts/", "complete": f"{path}/complete"},
    }
    return json_response(data, UploadSchema(), status, {"Location": path})


def _refuse_if_busy(here: Services, upload: Upload) -> None:
    if upload.dataset is not None:
        raise Conflict("The upload is complete.", dataset=upload.dataset)
    if here.rooms.desk.busy(upload):
        raise Conflict(BUSY)


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", text):
        raise InvalidArguments({"number": ["Not the number of a part."]})
    return int(text)


def _digest_of(request: web.Request) -> bytes | None:
    """The SHA-256 in the header Content-Digest (RFC 9530), if there is one."""
    told = _DIGEST.findall(listed(request, "Content-Digest"))
    if not told:
        return None
    try:
        return base64.b64decode(told[-1], validate=True)  # of a key twice the last (RFC 9651)
    except binascii.Error as error:
        raise InvalidRequest("Content-Digest is not base64.") from error
