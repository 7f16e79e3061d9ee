"""Writes the folder of a run before the run is recorded, and what a launch changes in it.

Blocking file work; runs in a thread of the server.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets as random_source
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clearing import remove_tree
from ..models_plugin.plugin import PluginSource
from ..records.home import Home
from ..schemas.transport import FilePart, RequestData
from .ending import goes_on, scrub
from .messages import RunOrder
from .paths import RunPaths, read_json, sync_folder, write_bytes, write_json
from .resuming import can_be_resumed, last_step

log = logging.getLogger(__name__)

GONE = ".gone-"
"""Before the name of a folder whose run is being purged (`purging.py`)."""
_NOT_KEPT = {"authorization", "proxy-authorization", "cookie", "x-api-key"}


def write_run_folder(
    paths: RunPaths,
    order: RunOrder,
    request: RequestData,
    secret_names: Sequence[str],
    files_folder: Path | None,
) -> None:
    """Makes the whole run folder, durably: request, order, and the uploads, which are moved here.

    Raises OSError (disk full, say); what was written is for the caller to remove.
    """
    paths.root.mkdir(mode=0o700)
    moved = _move_files(request, files_folder, paths.files)
    headers = {name: text for name, text in moved.headers.items() if name.lower() not in _NOT_KEPT}
    order.request = replace(moved, headers=headers).to_data()
    order.secrets = list(secret_names)
    # The arguments may hold secrets, in query, form or body: nobody else may read any of them.
    if request.body:
        write_bytes(paths.body, request.body, mode=0o600)
    if secret_names:
        write_json(paths.secrets, {"format": 1, "names": list(secret_names)}, mode=0o600)
    write_json(paths.run, order.to_data(), mode=0o600)
    sync_folder(paths.root.parent)


def seed_of(args: Mapping[str, Any]) -> int:
    """The run's seed: the argument `seed` if the model has one, else a random one."""
    seed = args.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        return seed
    return random_source.randbits(31)


def prepare_launch(
    paths: RunPaths,
    epoch: int,
    weights: Mapping[str, str],
    sources: Mapping[str, PluginSource],
) -> PluginSource:
    """Puts this epoch in force; `weights` are the names as they are now (`latest`), `sources` where
    models have their code now. A model that is not among them is looked for where it was.

    A run that goes on from a checkpoint keeps those that it began with, so that it ends as an
    unbroken one would.

    Raises OSError, and ValueError if the order is damaged.
    """
    data = read_json(paths.run)
    if data is None:
        raise FileNotFoundError(f"{paths.run.name} is missing")
    try:
        order = RunOrder.from_data(data)
    except TypeError as error:
        raise ValueError(f"{paths.run.name} is not as the server wrote it") from error
    before = order.to_data()
    if last_step(paths) is None:
        order.weights = dict(weights)
    _settle_in(paths, order)
    now = sources.get(order.model)
    if now is not None and now.problem is None:
        order.source = now.to_data()
    if order.to_data() != before:
        write_json(paths.run, order.to_data(), mode=0o600)
    paths.status.unlink(missing_ok=True)  # what an earlier attempt had reached
    if not goes_on(paths) and not paths.trained.exists():
        _forget_attempt(paths)
    # Not durable: should the machine stop, no supervisor is left that the epoch could fence out.
    write_bytes(paths.epoch, str(epoch).encode(), durable=False)
    return PluginSource.from_data(order.source)


def _settle_in(paths: RunPaths, order: RunOrder) -> None:
    """The home's folders as they are now: it may have been moved, or restored from a backup, since
    the run was submitted."""
    home = Home(paths.root.parent.parent)
    if order.weights_root is not None:
        order.weights_root = str(home.weights)
    if order.dataset is not None:
        files = Path(order.dataset["folder"])
        folder = home.datasets / files.parent.name / files.name
        order.dataset = {**order.dataset, "folder": str(folder)}


def _forget_attempt(paths: RunPaths) -> None:
    """A run that does not go on begins anew: numbers and checkpoints of before are not its own."""
    paths.metrics.unlink(missing_ok=True)
    for folder in (paths.events, paths.checkpoints):
        if folder.exists() and not remove_tree(folder):
            raise OSError(f"{folder} cannot be removed")


def fence(paths: RunPaths, epoch: int) -> bool:
    """Makes sure that no supervisor of `epoch` can begin any more; False if one has begun.

    A supervisor claims its run under the lock on `claim`, and only if the epoch in force is its
    own: so under the same lock the next epoch is put in force.
    """
    descriptor = os.open(paths.claim, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if claimed(paths, epoch):
            return False
        write_bytes(paths.epoch, str(epoch + 1).encode())
        return True
    finally:
        os.close(descriptor)


def claimed(paths: RunPaths, epoch: int) -> bool:
    """True if a supervisor has begun to act for this epoch."""
    with suppress(ValueError):
        data = read_json(paths.supervisor)
        return data is not None and data.get("epoch") == epoch
    return False


def tidy(paths: RunPaths, done: bool) -> bool:
    """Removes the request, uploads and temporary files of an ended run; False if something is left.

    The recorded arguments stay, without secrets; of a run that is not `done` and can be resumed
    the request too, if it held no secrets. Doing it again changes nothing.
    """
    try:
        if paths.root.exists():
            scrub(paths)
            if done or not can_be_resumed(paths):
                _forget_request(paths)
        for folder in (paths.files, paths.tmp):
            if not remove_tree(folder):
                raise OSError(f"{folder} cannot be removed")
    except (OSError, ValueError) as error:
        log.warning("run %s: its request could not be removed: %s", paths.id, error)
        return False
    return True


def remove_unrecorded(runs: Path, known: set[str]) -> None:
    """Removes folders of runs that never became any: the server was killed before the record; and
    of those that were being purged.

    A folder that was launched once is kept, whatever the records say: if the records were lost or
    restored from an older backup, its checkpoints are all that is left.
    """
    for folder in list(runs.iterdir()):
        if folder.name in known or not folder.is_dir():
            continue
        if folder.name.startswith(GONE):
            if (run_id := folder.name.removeprefix(GONE)) in known:
                folder.rename(runs / run_id)
            else:
                remove_tree(folder)
            continue
        if RunPaths(folder).epoch.exists():
            log.warning("%s: a run that is not in the records; left as it is", folder)
        else:
            remove_tree(folder)


def _forget_request(paths: RunPaths) -> None:
    paths.body.unlink(missing_ok=True)
    data = read_json(paths.run)
    if data is None or not data.get("request"):
        return
    order = RunOrder.from_data(data)
    order.request = {}
    try:
        write_json(paths.run, order.to_data(), mode=0o600)
    except OSError:
        paths.run.unlink()  # a full disk keeps no secrets: rather no order than this one


def _move_files(request: RequestData, source: Path | None, target: Path) -> RequestData:
    parts = [*request.files, *([request.raw] if request.raw else [])]
    if not parts:
        return request
    target.mkdir(mode=0o700)
    moved = {id(part): _move(part, source or Path(), target) for part in parts}
    sync_folder(target)
    return replace(
        request,
        files=[moved[id(part)] for part in request.files],
        raw=moved[id(request.raw)] if request.raw else None,
    )


def _move(part: FilePart, source: Path, target: Path) -> FilePart:
    old = source / part.path
    new = target / old.name
    shutil.move(old, new)  # a rename; a copy only if the call's folder is on another file system
    descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return replace(part, path=str(new))
