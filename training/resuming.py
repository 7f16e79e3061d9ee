"""Whether a run can go on, from where, and how often it does so by itself.

Runs in the server; blocking file work, for a thread. A run goes on from `last` if its plugin asks
for `run.resume_from`; one that was trained to its end needs the finish step alone, whatever its
plugin does.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunConflict
from ..records.runs import RunRecord
from ..schemas.states import Phase, Reason, Status
from ..schemas.transport import RequestData
from .checkpoints import CheckpointIndex, sync_tree
from .ending import goes_on, request_of
from .messages import ExitRecord, RunOrder, RunProgress
from .paths import RunPaths, read_json, write_bytes, write_json

_BY_OTHERS = {None, "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"}
"""Signals that come from outside; None: nobody saw how the process ended."""

DATASET_ARGUMENTS = frozenset(("dataset", "archive"))
"""Arguments whose uploads are datasets."""

_FAILURES = {Reason.PLUGIN_FAILED, Reason.PROCESS_DIED, Reason.OUT_OF_MEMORY, Reason.DISK_FULL}


def last_step(paths: RunPaths) -> int | None:
    """The step of the checkpoint that the run would go on from; None if it would start anew."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return CheckpointIndex.read(paths).last
    return None


def was_interrupted(paths: RunPaths, how: ExitRecord) -> bool:
    """True if the run did not fail by itself, and its plugin can go on: it is launched again.

    What fails while it is evaluating counts as well: all steps are made and saved by then, so that
    only the evaluation is made again.
    """
    if not goes_on(paths):
        return False
    if how.reason == Reason.INTERRUPTED.value:
        return True
    if how.reason == Reason.START_FAILED.value:  # after it had been under way
        return last_step(paths) is not None
    died = how.reason == Reason.PROCESS_DIED.value and how.exit_code is None
    if died and how.signal in _BY_OTHERS:
        return True
    evaluating = _phase(paths) == Phase.EVALUATING.value
    return evaluating and last_step(paths) is not None and how.reason in _FAILURES


def count_interruption(paths: RunPaths, epoch: int) -> int:
    """How often the run was interrupted since it last saved a checkpoint, this time included.

    Kept in the run folder, so that it counts over restarts of the server. One that stops and has
    asked the run to do so as well does not count: 0. Raises OSError.
    """
    asked = request_of(paths, epoch)
    if asked is not None and asked.action == "stop":
        return 0
    step, count = last_step(paths), 0
    with suppress(ValueError, TypeError):
        data = read_json(paths.interruptions) or {}
        if data.get("step") == step:
            count = int(data.get("count", 0))
    write_json(paths.interruptions, {"format": 1, "step": step, "count": count + 1})
    return count + 1


def where(paths: RunPaths) -> str:
    """From where the run goes on, in words."""
    step = last_step(paths)
    return "from its beginning" if step is None else f"from its checkpoint of step {step}"


@dataclass(frozen=True)
class Resumption:
    """What an ended run leaves to one that goes on with it.

    `request` is the original one, None where only the recorded arguments are left: then `secrets`
    names those that have to be given again. `without` are uploaded arguments whose files are gone,
    which the run's stored dataset replaces. `trained`: only the finish step is left to be made.
    """

    record: RunRecord
    order: RunOrder
    request: RequestData | None
    secrets: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    trained: bool = False


def resumption_of(record: RunRecord, paths: RunPaths) -> Resumption:
    """How an ended run can be gone on with. Raises RunConflict where it cannot be."""
    if record.status is Status.DONE:
        raise RunConflict("The run is done: there is nothing to resume. Train again instead.")
    if not record.finished:
        raise RunConflict("The run's processes are being ended: resume it in a moment.")
    order = _order(paths)
    if order is None:
        raise RunConflict("The run cannot be resumed: its folder is gone or damaged.")
    if paths.trained.exists():
        return Resumption(record, order, RequestData(), trained=True)
    if not goes_on(paths):
        raise RunConflict(
            f"The model {record.model} does not go on from checkpoints (its train() never asked "
            "for run.resume_from): train again instead."
        )
    if last_step(paths) is None:
        raise RunConflict("The run has saved no checkpoint: train again instead.")
    request = _request(order, paths)
    without: tuple[str, ...] = ()
    if request is not None:
        without = tuple(part.field for part in _parts(request))
        request.files, request.raw = [], None
        _need_files(record, without)
    return Resumption(record, order, request, tuple(order.secrets), without)


def _need_files(record: RunRecord, names: tuple[str, ...]) -> None:
    """Raises RunConflict if uploads are needed that nothing stands in for."""
    stored = record.dataset is not None and len(names) == 1
    if names and not (stored and names[0] in {*DATASET_ARGUMENTS, ""}):
        told = ", ".join(name or "the body" for name in names)
        raise RunConflict(
            f"The run cannot be resumed: it needs what was uploaded as {told}, which was removed "
            "when it ended. Train again instead."
        )


def check_recorded_files(what: Resumption, file_names: set[str]) -> tuple[str, ...]:
    """The uploaded arguments among the recorded ones, where the original request is gone.

    `file_names` are the model's arguments that are files. Raises RunConflict.
    """
    names = tuple(name for name in sorted(file_names) if what.record.args.get(name))
    _need_files(what.record, names)
    return names


def can_be_resumed(paths: RunPaths) -> bool:
    """True if something of an ended run is worth going on with."""
    return paths.trained.exists() or (goes_on(paths) and last_step(paths) is not None)


def carry_over(old: RunPaths, new: RunPaths) -> None:
    """Gives a new run folder what the old one has reached; files of checkpoints are hard links.

    Raises OSError (disk full, say); what was written is for the caller to remove.
    """
    if old.checkpoints.exists():
        new.checkpoints.mkdir()
        for entry in old.checkpoints.iterdir():
            if entry.is_dir() and not entry.name.endswith((".tmp", ".old")):  # or cut off
                target = new.checkpoints / entry.name
                shutil.copytree(entry, target, symlinks=True, copy_function=_link)
        if old.checkpoints_index.exists():
            write_bytes(new.checkpoints_index, old.checkpoints_index.read_bytes())
    if old.plugin.exists():
        shutil.copytree(old.plugin, new.plugin, symlinks=True)
    for before in (old.metrics, old.lineage, old.data):
        if before.exists():
            _copy(before, new.root / before.name)
    for folder in (new.checkpoints, new.plugin):
        if folder.exists():
            sync_tree(folder)
    if old.trained.exists():  # last: from then on the run counts as trained
        write_bytes(new.trained, old.trained.read_bytes())


def _link(source: str, target: str) -> None:
    # The files of a checkpoint are never written again.
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _order(paths: RunPaths) -> RunOrder | None:
    with suppress(OSError, ValueError, TypeError):
        data = read_json(paths.run)
        return None if data is None else RunOrder.from_data(data)
    return None


def _request(order: RunOrder, paths: RunPaths) -> RequestData | None:
    if order.secrets or not order.request:
        return None
    with suppress(OSError, ValueError, TypeError, KeyError):
        body = paths.body.read_bytes() if paths.body.exists() else b""
        return RequestData.from_data(order.request, body)
    return None


def _parts(request: RequestData) -> list[Any]:
    return [*request.files, *([request.raw] if request.raw else [])]


def _phase(paths: RunPaths) -> str | None:
    with suppress(OSError, ValueError, TypeError):
        data = read_json(paths.status)
        return None if data is None else RunProgress.from_data(data).phase
    return None
