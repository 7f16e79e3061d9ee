"""`/v2/models/{model}/train/`: start, list, look at and cancel trainings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from ..clearing import remove_tree
from ..errors import InvalidArguments
from ..schemas.permissions import Permission
from ..schemas.resources import RunSchema
from ..schemas.states import PAUSABLE, Phase, Status
from ..schemas.transport import RequestData
from ..serving.handle import ModelHandle
from ..training.options import RunLimits
from ..training.service import RunRecord
from ..training.submission import Asked, DatasetRef
from .access.deeds import carry_out
from .access.principal import principal_of
from .body import ModelRequestReader
from .discretion import discretion
from .idempotency import idempotency_key
from .like import Likeness, likeness
from .responses import Streamed, json_response
from .services import (
    QUERY,
    Services,
    argument_names,
    described_model_of,
    header_arguments,
    model_name_of,
    server_parameter,
    services,
    telling_where,
)
from .train_dataset import adopt, chosen_dataset, drop, keep_upload
from .train_limits import NAMES as LIMITS
from .train_limits import chosen_limits

_TEXT_LIMIT = 4 * 1024**2
"""Bytes of the JSON, or of the form fields, of one training. The server itself looks at them, for
`dataset`, `like` and Idempotency-Key, and everybody else waits for that: 64 MB took a second."""


async def start(request: web.Request) -> web.StreamResponse:
    """Validates in the model's worker, commits the record, answers; the run starts by itself."""
    handle = await described_model_of(request)
    here = services(request)
    key = idempotency_key(request)
    folder = here.home.calls / uuid.uuid4().hex
    reader = ModelRequestReader(
        request,
        folder,
        here.settings.client_max_size,
        hash_files=True,
        headers=header_arguments(handle, "train"),
        text_limit=_TEXT_LIMIT,
    )
    try:
        data = await reader.read()
        asked = _asked(request, handle, data)
        earlier = await here.runs.repeated(handle.name, key, principal_of(request).name, asked)
        if earlier is not None:  # also where what it named is gone by now
            return _told(here, earlier)
        data, kin = await _like(request, here, handle, data)
        data, dataset = await chosen_dataset(
            request, here, handle, data, None if kin is None else kin.dataset
        )
        data, limits = chosen_limits(request, handle, data)
        with telling_where("like", "dataset", *LIMITS):
            checked = await handle.validate("train", data)
        sent = (key, principal_of(request).name, asked)
        submit = _submit(here, handle, data, checked, folder, sent, kin, dataset, limits)
        return await carry_out(request, _made(here, submit))
    finally:
        if folder.exists():
            await asyncio.shield(asyncio.to_thread(remove_tree, folder))


async def _made(here: Services, submit: Awaitable[RunRecord]) -> web.Response:
    return _told(here, await submit)


def _told(here: Services, record: RunRecord) -> web.Response:
    data = run_data(here, record)
    return json_response(data, RunSchema(), headers={"Location": data["links"]["self"]})


def _asked(request: web.Request, handle: ModelHandle, data: RequestData) -> Asked:
    """What is compared if the same key comes again: nothing that the server found out itself."""
    taken = argument_names(handle, "train")
    ours = {"like", "dataset", *LIMITS} - taken
    named = {name: server_parameter(request, taken, name) for name in ("like", "dataset", *LIMITS)}
    of_model = {name: data.headers.get(name) for name in header_arguments(handle, "train")}
    query = [pair for pair in data.query if pair[0] not in ours]
    named |= {f"{name}:": value for name, value in of_model.items()}
    return Asked(replace(data, query=query), data, named)


async def _submit(
    here: Services,
    handle: ModelHandle,
    data: RequestData,
    checked: Any,
    folder: Any,
    sent: tuple[str | None, str, Asked],
    kin: Likeness | None,
    dataset: DatasetRef | None,
    limits: RunLimits,
) -> RunRecord:
    kept = await asyncio.to_thread(keep_upload, here, handle, data)
    try:
        record = await _recorded(here, handle, data, checked, folder, sent, kin, dataset, limits)
    except BaseException:
        if kept is not None:
            await asyncio.to_thread(drop, kept)
        raise
    if kept is not None:
        here.rooms.datasets.beside(adopt(here, record, kept))
    return record


async def _recorded(
    here: Services,
    handle: ModelHandle,
    data: RequestData,
    checked: Any,
    folder: Any,
    sent: tuple[str | None, str, Asked],
    kin: Likeness | None,
    dataset: DatasetRef | None,
    limits: RunLimits,
) -> RunRecord:
    return await here.runs.submit(
        handle.source,
        data,
        checked.record,
        checked.secrets,
        folder if data.files or data.raw else None,
        *sent[:2],
        asked=sent[2],
        repeats=None if kin is None else kin.version,
        seed=None if kin is None else kin.seed,
        dataset=dataset,
        limits=limits,
    )


async def _like(
    request: web.Request, here: Services, handle: ModelHandle, data: RequestData
) -> tuple[RequestData, Likeness | None]:
    """The request with the arguments of the version that it is to be like, if it names one.

    Raises InvalidArguments naming what was not recorded, and has to be given.
    """
    taken = argument_names(handle, "train")
    name = server_parameter(request, taken, "like")
    if name is None:
        return data, None
    if "like" not in taken:
        data = replace(data, query=[pair for pair in data.query if pair[0] != "like"])
    described = handle.description.train_arguments if handle.description is not None else None
    kin = await likeness(here, handle.name, name)
    chosen = server_parameter(request, taken, "dataset") is not None
    return kin.fill(data, described or (), chosen)


async def list_runs(request: web.Request) -> web.StreamResponse:
    """Without `limit` every record, oldest first, as DEEPaaS clients expect; with it, pages."""
    model = await model_name_of(request)
    here = services(request)
    query = request[QUERY]
    limit, cursor, status = query.get("limit"), query.get("cursor"), query.get("status")
    if limit is None:
        if cursor is not None:
            raise InvalidArguments({"cursor": ["A cursor needs a limit."]})
        return await _stream_all(request, here, model, status)
    records, following = await here.runs.list(model, limit, cursor, status)
    headers = {}
    if following is not None:
        asked = {"limit": limit, "cursor": following, **({"status": status} if status else {})}
        headers["Link"] = f'<{here.url(request.path)}?{urlencode(asked)}>; rel="next"'
    data = [run_data(here, record) for record in records]
    return json_response(data, RunSchema(many=True), headers=headers)


PAGE = 200


async def _stream_all(
    request: web.Request, here: Services, model: str, status: str | None
) -> web.StreamResponse:
    """The bare array, written a page at a time: ten thousand records are never held at once."""
    response = Streamed(headers={"Content-Type": "application/json; charset=utf-8"})
    schema = RunSchema(many=True)
    opened = False
    async for records in here.runs.pages(model, PAGE, status):
        data: bytes = json_response([run_data(here, r) for r in records], schema).body  # type: ignore[assignment]
        body = discretion(request).json(data, principal_of(request))
        if not opened:
            if not await response.begun(request):
                return response
            await response.write(b"[")
        elif len(body) > 2:
            await response.write(b",")
        opened = True
        await response.write(body[1:-1])
    if not opened:
        return json_response([])
    await response.write(b"]")
    await response.write_eof()
    return response


async def get_run(request: web.Request) -> web.StreamResponse:
    """One run's record."""
    record = await run_of(request)
    return json_response(run_data(services(request), record), RunSchema())


async def cancel(request: web.Request) -> web.StreamResponse:
    """Cancels a run that has not ended; the record stays. An ended one is left, or purged."""
    model = await model_name_of(request)
    here = services(request)
    if request[QUERY]["purge"]:
        manager = principal_of(request).acting(Permission.MANAGE)
        manager.check(Permission.MANAGE)
        manager.check_model(model)
        end: Awaitable[RunRecord] = here.purge.purge(model, request.match_info["id"])
    else:
        end = here.runs.cancel(model, request.match_info["id"])

    async def answer() -> web.Response:
        return json_response(run_data(here, await end), RunSchema())

    return await carry_out(request, answer())


async def run_of(request: web.Request) -> RunRecord:
    """The run that the address names. Raises ModelNotFound or RunNotFound."""
    model = await model_name_of(request)
    return await services(request).runs.get(model, request.match_info["id"])


def run_data(here: Services, record: RunRecord) -> dict[str, Any]:
    """What a client sees of a run: DEEPaaS's members, and ours."""
    path = here.url(f"/v2/models/{record.model}/train/{record.id}")
    return {
        "uuid": record.id,
        "model": record.model,
        "date": record.date,
        "args": record.args,
        "status": record.status,
        "phase": record.phase,
        "reason": record.reason,
        "message": record.message,
        "progress": asdict(record.progress),
        "position": record.position,
        "attempt": record.attempt,
        "attempts": [asdict(attempt) for attempt in record.attempts],
        "max_seconds": record.max_seconds,
        "restart_on_failure": record.restart_on_failure,
        "started_by": record.principal or None,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "result": None if record.result is None else asdict(record.result),
        "weights": record.weights,
        "dataset": record.dataset,
        "resumed_from": record.resumed_from,
        "repeats": record.repeats,
        "links": {
            "self": path,
            **{part: f"{path}/{part}" for part in ("log", "metrics", "events", "checkpoints")},
            "tensorboard": here.url("/tensorboard/"),
            **{what: f"{path}/{what}" for what in _possible(record)},
        },
    }


def _possible(record: RunRecord) -> list[str]:
    """What may be asked of the run now; the model may be unable to go on from checkpoints."""
    if record.phase in PAUSABLE or record.phase is Phase.QUEUED:
        return ["pause"]
    if record.phase is Phase.RETRY_WAIT:
        return ["pause", "resume"]
    ended_undone = record.finished and record.status is not Status.DONE
    return ["resume"] if ended_undone or record.phase is Phase.PAUSED else []
