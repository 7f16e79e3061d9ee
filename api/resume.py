"""`/v2/models/{model}/train/{id}/pause` and `/resume`: stop a training, and go on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from ..errors import DatasetNotFound, InvalidArguments, RunConflict, RunNotFound
from ..schemas.description import FieldDescription
from ..schemas.resources import RunSchema
from ..schemas.transport import RequestData
from ..serving.handle import ModelHandle
from ..serving.messages import Validated
from ..training.options import RunLimits
from ..training.resuming import Resumption, check_recorded_files
from ..training.service import RunRecord
from ..training.submission import DatasetRef
from .access.deeds import carry_out
from .access.principal import principal_of
from .idempotency import committed, done_before, thing_of
from .like import Likeness
from .responses import json_response
from .services import BODY, Services, model_name_of, model_of, services
from .train import run_data, run_of
from .train_dataset import takes_a_name


async def pause(request: web.Request) -> web.StreamResponse:
    """Asks a training to save a checkpoint and end its processes."""
    model = await model_name_of(request)
    here = services(request)

    async def answer() -> web.Response:
        record = await here.runs.pause(model, request.match_info["id"])
        return json_response(run_data(here, record), RunSchema())

    return await carry_out(request, answer())


async def resume(request: web.Request) -> web.StreamResponse:
    """The same run goes on if it has not ended; else a new one begins where it ended."""
    record = await run_of(request)
    here = services(request)
    given = request[BODY]
    if done_before(request):  # it went on
        work = here.runs.get(record.model, record.id)
    elif record.ended:
        sender = principal_of(request).name
        work = _begin_again(here, model_of(request), record, given, thing_of(request), sender)
    elif given:
        told = "This training has not ended: it has its arguments."
        raise InvalidArguments({name: [told] for name in given})
    else:
        work = here.runs.go_on(record.model, record.id, committed(request))

    async def answer() -> web.Response:
        data = run_data(here, await work)
        return json_response(data, RunSchema(), headers={"Location": data["links"]["self"]})

    return await carry_out(request, answer())


async def _begin_again(
    here: Services,
    handle: ModelHandle,
    record: RunRecord,
    given: Mapping[str, Any],
    run_id: str,
    principal: str,
) -> RunRecord:
    """A new run that goes on with an ended one; the one of this id, if it was made already. Raises
    RunConflict, InvalidArguments."""
    with suppress(RunNotFound):
        return await here.runs.get(record.model, run_id)
    left = await here.runs.resumption(record)
    names = () if left.trained else left.secrets
    wrong = {name: ["Only secret arguments are given again."] for name in given.keys() - names}
    if wrong:
        raise InvalidArguments(wrong)
    dataset = None if left.trained else await _dataset(here, left)
    request, args, secrets = left.request, record.args, list(names)
    stand_in: dict[str, str] = {}
    if dataset is not None and left.without and takes_a_name(handle):
        # What was uploaded has become this dataset: it is named where the model can be told so.
        stand_in = {"dataset": dataset.id}
    if request is not None and left.without:
        request = replace(request, form=[*request.form, *stand_in.items()])
        args = (await _checked_without(handle, request, left)).record
    if request is None:
        request = _filled(handle, left, given)
        checked = await handle.validate("train", request)
        args, secrets = checked.record, checked.secrets
    return await here.runs.submit(
        handle.source,
        request,
        args,
        secrets,
        None,
        principal=principal,
        name=record.name,
        tags=record.tags,
        dataset=dataset,
        repeats=record.repeats,
        seed=left.order.seed,
        resumes=left,
        run_id=run_id,
        limits=RunLimits(record.max_seconds, record.restart_on_failure),
    )


async def _checked_without(
    handle: ModelHandle, request: RequestData, left: Resumption
) -> Validated:
    """The request without its uploads, as the model takes it. Raises RunConflict if it does not."""
    try:
        return await handle.validate("train", request)
    except InvalidArguments as error:
        told = ", ".join(name or "the body" for name in left.without)
        raise RunConflict(
            f"The run cannot be resumed: the model {handle.name} does not take its stored dataset "
            f"in place of what was uploaded as {told}. Train again instead."
        ) from error


def _filled(handle: ModelHandle, left: Resumption, given: Mapping[str, Any]) -> RequestData:
    """A request with the recorded arguments and the secrets that were given again.

    Raises InvalidArguments naming secrets that are missing, RunConflict if uploads are.
    """
    described = handle.description.train_arguments if handle.description is not None else None
    fields = described or []
    uploads = check_recorded_files(left, {field.name for field in fields if _is_file(field)})
    if uploads and "dataset" not in uploads and any(one.name == "dataset" for one in fields):
        given = {**given, "dataset": left.record.dataset}
    asked = Likeness(
        version="",
        arguments=left.record.args,
        secrets=left.secrets,
        weights=left.order.weights,
        seed=left.order.seed,
        dataset=left.record.dataset,
    )
    body = json.dumps(dict(given)).encode() if given else b""
    headers = {"content-type": "application/json"}
    return asked.fill(RequestData(headers=headers, body=body), fields)[0]


def _is_file(field: FieldDescription) -> bool:
    return field.kind == "file" or (field.items is not None and field.items.kind == "file")


async def _dataset(here: Services, left: Resumption) -> DatasetRef | None:
    """The stored dataset of the ended run, with its files here. Raises RunConflict."""
    if left.record.dataset is None:
        return None
    try:
        found = await here.rooms.datasets.get(left.record.dataset)
    except DatasetNotFound as error:
        told = f"The run cannot be resumed: {error.message}"
        raise RunConflict(told) from error
    return DatasetRef(found.id, found.name, found.digest, await here.rooms.datasets.files(found))
