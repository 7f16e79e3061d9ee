"""`/v2/datasets/`: datasets are sent, listed, looked at and removed."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from ..errors import (
    InvalidArguments,
    InvalidRequest,
    NotPermitted,
    NotSupported,
    RunConflict,
)
from ..records.datasets import DatasetRecord
from ..records.runs import find_run
from ..schemas.dataset_resources import DatasetReportSchema, DatasetSchema, DatasetsSchema
from ..schemas.transport import RequestData
from ..storage.datasets.naming import name_from
from ..storage.datasets.service import Incoming
from ..storage.datasets.taking import Item
from .access.deeds import carry_out
from .access.principal import Principal, principal_of
from .body import ModelRequestReader
from .idempotency import files_given, idempotency_key, once, thing_of
from .responses import json_response
from .services import BODY, QUERY, Services, services

FILES_LIMIT = 10_000
"""Files in one form; more come as an archive."""
_NAMES_BY_TYPE = {
    "application/zip": "archive.zip",
    "application/x-zip-compressed": "archive.zip",
    "application/x-tar": "archive.tar",
    "application/gzip": "archive.tar.gz",
    "application/x-gzip": "archive.tar.gz",
    "application/x-bzip2": "archive.tar.bz2",
    "application/x-xz": "archive.tar.xz",
}
UPLOADS = (*_NAMES_BY_TYPE, "application/octet-stream", "multipart/form-data")


async def create(request: web.Request) -> web.StreamResponse:
    """Takes a dataset in: 201, or 200 if that content is here under this name already.

    A client that hangs up after the last byte changes nothing: it is taken in all the same.
    """
    here, sender = services(request), principal_of(request)
    folder = here.home.calls / uuid.uuid4().hex
    given: list[Any] = [request[QUERY]]
    try:
        if BODY in request:
            taking = partial(_from_address, here, sender, folder, request[BODY], request[QUERY])
            given.append(request[BODY])
        else:
            data = await ModelRequestReader(
                request,
                folder,
                here.settings.client_max_size,
                hash_files=idempotency_key(request) is not None,
                fields_limit=FILES_LIMIT,
            ).read()
            taking = partial(_from_files, here, sender, folder, data, request[QUERY])
            given.append(files_given(data))
    except BaseException:
        await _remove(folder)
        raise

    async def work() -> web.Response:
        thing = thing_of(request)
        record, created = await taking(thing)
        return answered(here, sender, record, created or record.id == thing)

    async def whole() -> web.StreamResponse:
        try:
            return await once(request, given, work)
        finally:
            await _remove(folder)

    return await carry_out(request, whole())


async def _from_files(
    here: Services,
    sender: Principal,
    folder: Path,
    data: RequestData,
    query: dict[str, Any],
    thing: str,
) -> tuple[DatasetRecord, bool]:
    parts = [*data.files, *([data.raw] if data.raw else [])]
    items, filename = _items(data)
    size = sum(part.size for part in parts)
    incoming = Incoming(
        items,
        name=query.get("name") or name_from(filename),
        model=chosen_reader(here, sender, query.get("model")),
        source={"kind": "upload", "filename": filename, "size": size},
        id=thing,
        principal=sender.name,
    )
    return await here.rooms.datasets.add(incoming)


def _items(data: RequestData) -> tuple[list[Item], str]:
    """What came, and the name of the file if it is a single one."""
    if data.form:
        names = ", ".join(sorted({name for name, _ in data.form}))
        raise InvalidRequest(f"Give {names} in the query; the form holds files.")
    if data.raw is not None:
        name = _NAMES_BY_TYPE.get(data.raw.content_type, "")
        return [Item([Path(data.raw.path)], name)], ""
    if not data.files:
        raise InvalidRequest("There is no file in the request.")
    items = [Item([Path(part.path)], part.filename) for part in data.files]
    return items, items[0].name if len(items) == 1 else ""


async def _from_address(
    here: Services,
    sender: Principal,
    folder: Path,
    body: dict[str, Any],
    query: dict[str, Any],
    thing: str,
) -> tuple[DatasetRecord, bool]:
    address = body["address"]
    check_address(address, here.settings.dataset_sources)
    if here.rooms.office is None:
        raise NotSupported("This server has no store (--storage) to take objects from.")
    filename = address.rpartition("/")[2]
    name = body.get("name") or query.get("name") or name_from(filename)
    model = chosen_reader(here, sender, body.get("model") or query.get("model"))
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    target = folder / "object"
    free = (await asyncio.to_thread(shutil.disk_usage, folder)).free
    await here.rooms.office.fetch_object(address, target, max(0, free - here.settings.min_free))
    size = (await asyncio.to_thread(target.stat)).st_size
    source = {"kind": "address", "address": address, "filename": filename, "size": size}
    items = [Item([target], filename)]
    incoming = Incoming(
        items, name=name, model=model, source=source, id=thing, principal=sender.name
    )
    return await here.rooms.datasets.add(incoming)


def chosen_reader(here: Services, sender: Principal, name: str | None) -> str | None:
    """The model that is to read a dataset; None: none is.

    Raises InvalidArguments for one that is not served, MissingPermission for one that the sender's
    key is not for.
    """
    if name is not None:
        sender.check_model(name)
    return shown_model(sender, here.rooms.reader.choose(name))


def check_address(address: str, allowed: Sequence[str]) -> None:
    """Raises InvalidArguments for what is no address, NotPermitted unless it lies below one of the
    `allowed` prefixes: whole steps of the path, so that `s3://b/data` does not allow
    `s3://b/database`."""
    scheme, _, rest = address.partition("://")
    steps = rest.split("/")
    if scheme != "s3" or len(steps) < 2 or not all(steps) or {".", ".."} & set(steps):
        raise InvalidArguments({"address": ["Not an address: give s3://bucket/key."]})
    if not any(address.startswith(f"{prefix.rstrip('/')}/") for prefix in allowed):
        raise NotPermitted(
            "Datasets may not be taken from there. The server allows: "
            f"{', '.join(allowed) or 'nothing (--dataset-sources)'}."
        )


async def list_datasets(request: web.Request) -> web.StreamResponse:
    """A page of versions, newest first."""
    here = services(request)
    query = request[QUERY]
    limit, name = query["limit"], query.get("name")
    page, following = await here.rooms.datasets.list(limit, query.get("cursor"), name)
    headers = {}
    if following is not None:
        asked = {"limit": limit, "cursor": following, **({"name": name} if name else {})}
        headers["Link"] = f'<{here.url(request.path)}?{urlencode(asked)}>; rel="next"'
    sender = principal_of(request)
    data = {"datasets": [_data(here, sender, record) for record in page]}
    return json_response(data, DatasetsSchema(), headers=headers)


async def get_dataset(request: web.Request) -> web.StreamResponse:
    """One version: by id, by name (the newest) or by name@number."""
    here = services(request)
    record = await here.dataset(request.match_info["id"])
    return json_response(_data(here, principal_of(request), record), DatasetSchema())


async def retry(request: web.Request) -> web.StreamResponse:
    """Tries now to publish what could not be published; what the store has is mended there."""
    here = services(request)
    record = await here.dataset(request.match_info["id"])
    _check_whose(principal_of(request), record)
    await here.rooms.datasets.shelf.retry(record)
    record = await here.rooms.datasets.get(record.id)
    return json_response(_data(here, principal_of(request), record), DatasetSchema())


async def report(request: web.Request) -> web.StreamResponse:
    """What the reader of a model found wrong, with file and line."""
    record = await services(request).dataset(request.match_info["id"])
    told = record.report or {"errors": 0, "warnings": 0, "problems": [], "left_out": 0}
    model = None if record.report is None else shown_model(principal_of(request), record.model)
    return json_response({**told, "dataset": record.id, "model": model}, DatasetReportSchema())


async def delete(request: web.Request) -> web.StreamResponse:
    """Removes one version, unless something needs it."""
    here = services(request)
    record = await here.dataset(request.match_info["id"])
    _check_whose(principal_of(request), record)

    async def could_go_on(ids: Sequence[str]) -> Sequence[str]:
        return [] if request[QUERY]["force"] else await _resumable(here, ids)

    async def remove() -> web.Response:
        await here.rooms.datasets.delete(record, could_go_on)
        return web.Response(status=204)

    return await carry_out(request, remove())


def _check_whose(sender: Principal, record: DatasetRecord) -> None:
    """A dataset is for all models: who may manage some of them changes what they sent themselves.

    Raises MissingPermission.
    """
    if not record.principal or record.principal != sender.name:
        sender.check_every_model()


def answered(
    here: Services, sender: Principal, record: DatasetRecord, created: bool
) -> web.Response:
    """The answer that tells a dataset which was sent."""
    data = _data(here, sender, record)
    headers = {"Location": data["links"]["self"]}
    return json_response(data, DatasetSchema(), 201 if created else 200, headers)


def shown_model(sender: Principal, model: str | None) -> str | None:
    """The model that reads a dataset, for those who may know of it: the dataset is for all."""
    return model if model is None or sender.sees(model) else None


def _data(here: Services, sender: Principal, record: DatasetRecord) -> dict[str, Any]:
    model, source = shown_model(sender, record.model), record.source
    if model != record.model and source is not None:  # the run that it came with is that model's
        source = {name: value for name, value in source.items() if name != "run"}
    report: Mapping[str, Any] = record.report or {}
    known = {name: report.get(name, 0) for name in ("errors", "warnings")}
    sent = here.rooms.datasets.shelf.sent(record)
    path = here.url(f"/v2/datasets/{record.id}")
    return {
        **vars(record),
        "model": model,
        "source": source,
        "reference": f"{record.name}@{record.number}",
        "problems": None if record.report is None else known,
        "progress": None if sent is None else {"done": sent[0], "total": sent[1]},
        "links": {"self": path, "report": f"{path}/report"},
    }


async def _resumable(here: Services, ids: Sequence[str]) -> list[str]:
    """Those of these ended runs that could still be resumed."""
    runs = await here.store.read(lambda c: [find_run(c, run_id) for run_id in ids])
    found = []
    for run in runs:
        with suppress(RunConflict):
            if run is not None:
                await here.runs.resumption(run)
                found.append(run.id)
    return found


async def _remove(folder: Path) -> None:
    if folder.exists():
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
