"""Which stored dataset a training reads, and what its uploads become."""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from ..clearing import make_folder
from ..errors import DatasetNotFound, InvalidArguments, ModelyardError
from ..records.datasets import set_run_dataset
from ..schemas.exactjson import loads
from ..schemas.transport import FilePart, RequestData
from ..serving.handle import ModelHandle
from ..storage.datasets.naming import name_from
from ..storage.datasets.service import Incoming
from ..storage.datasets.taking import Item
from ..training.resuming import DATASET_ARGUMENTS
from ..training.service import RunRecord
from ..training.submission import DatasetRef
from .services import Services, argument_names, server_parameter

log = logging.getLogger(__name__)


async def chosen_dataset(
    request: web.Request,
    here: Services,
    handle: ModelHandle,
    data: RequestData,
    like: str | None,
) -> tuple[RequestData, DatasetRef | None]:
    """The stored dataset that the request names, with its files on this disk, and the request
    with what it says to the model.

    The server's own parameter names one that must be there. An argument `dataset` of the model
    names one if there is one of that name; else it is the model's own business. `like` is the
    dataset of a training that this one repeats. Raises InvalidArguments, and StorageUnavailable
    if the files cannot be fetched.
    """
    taken = argument_names(handle, "train")
    choice = server_parameter(request, taken, "dataset")
    if "dataset" not in taken:
        data = replace(data, query=[pair for pair in data.query if pair[0] != "dataset"])
    uploaded = [part.field for part in data.files if part.field in DATASET_ARGUMENTS]
    said = _argument(data) if "dataset" in taken else None
    if choice is not None and (uploaded or said not in (None, choice)):
        raise InvalidArguments({"dataset": ["Give one dataset: by this name, or in the request."]})
    if uploaded or data.raw is not None:
        return data, None
    named = choice or said or like
    if named is None:
        return data, None
    try:
        record = await here.dataset(named)
    except DatasetNotFound as error:
        if choice is not None or (said is None and like is not None):
            raise InvalidArguments({"dataset": [await _unknown(here, named)]}) from error
        return data, None
    if said is None and takes_a_name(handle):
        data = replace(data, query=[*data.query, ("dataset", named)])
    folder = await here.rooms.datasets.files(record)
    return data, DatasetRef(record.id, record.name, record.digest, folder)


def _argument(data: RequestData) -> str | None:
    """The model's argument `dataset`, where it is a text, wherever the request has it."""
    for pairs in (data.query, data.form):
        for name, value in pairs:
            if name == "dataset" and value.strip():
                return value.strip()
    with suppress(ValueError):
        document = loads(data.body or b"null")
        told = document.get("dataset") if isinstance(document, dict) else None
        if isinstance(told, str) and told.strip():
            return told.strip()
    return None


def takes_a_name(handle: ModelHandle) -> bool:
    """True if the model has an argument `dataset` that may name a stored one."""
    described: Any = handle.description
    fields = described.train_arguments if described is not None else None
    return any(field.name == "dataset" and field.kind == "string" for field in fields or ())


async def _unknown(here: Services, name: str) -> str:
    page, _ = await here.rooms.datasets.list(100)
    names = list(dict.fromkeys(record.name for record in page))
    near = difflib.get_close_matches(name.partition("@")[0], names, n=3) or names[:5]
    known = f" There are: {', '.join(near)}." if near else " There are none yet."
    return f"There is no dataset {name!r}.{known}"


# -- uploads ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A link to an upload of a request, which stays when the run's own file goes."""

    folder: Path
    item: Item
    size: int


def keep_upload(here: Services, handle: ModelHandle, data: RequestData) -> Kept | None:
    """A second name for the upload that is a dataset, None if there is none. Blocking.

    Called before the run is submitted, which moves the files; `drop` it, or hand it to `adopt`.
    """
    part = _dataset_part(handle, data)
    if part is None:
        return None
    folder = here.home.calls / uuid.uuid4().hex
    try:
        make_folder(folder)
        link = folder / Path(part.path).name
        os.link(part.path, link)
    except OSError as error:  # a file system without links: the run has its upload all the same
        log.info("an upload does not become a dataset: %s", error)
        drop(Kept(folder, Item([], ""), 0))
        return None
    return Kept(folder, Item([link], part.filename), part.size)


def drop(kept: Kept) -> None:
    """Removes the second name. Blocking."""
    shutil.rmtree(kept.folder, ignore_errors=True)


async def adopt(here: Services, run: RunRecord, kept: Kept) -> None:
    """Makes a dataset of the upload of a run, and says so in its record. Runs beside it.

    What is no archive that can be taken stays an upload: the run itself tells what is wrong.
    """
    try:
        incoming = Incoming(
            [kept.item],
            name=_name(kept.item.name, run.model),
            model=here.rooms.reader.choose(run.model),
            principal=run.principal,
            source={
                "kind": "training",
                "run": run.id,
                "filename": kept.item.name,
                "size": kept.size,
            },
        )
        record, _ = await here.rooms.datasets.add(incoming)
        await here.store.write(lambda c: set_run_dataset(c, run.id, record.id))
    except (ModelyardError, OSError) as error:
        log.info("the upload of run %s does not become a dataset: %s", run.id, error)
    finally:
        await asyncio.to_thread(drop, kept)


def _dataset_part(handle: ModelHandle, data: RequestData) -> FilePart | None:
    found = [part for part in data.files if part.field in DATASET_ARGUMENTS]
    if not found and data.raw is not None and argument_names(handle, "train") & DATASET_ARGUMENTS:
        return data.raw
    return found[0] if len(found) == 1 else None


def _name(filename: str, model: str) -> str:
    """That of the file; a body without one is called after the model."""
    if filename and not filename.startswith("body"):
        with suppress(InvalidArguments):
            return name_from(filename)
    return f"{model}-upload"[:100]
