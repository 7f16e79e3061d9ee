"""What a run folder says at one moment. Blocking file reads; runs in a thread of the server."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from .ending import said_by_supervisor
from .executor import Executor
from .messages import ExitRecord, RunProgress
from .orders import claimed
from .paths import RunPaths, read_json

Stamp = tuple[int, int, int]
"""Inode, time and size of status.json: another stamp, another content."""


@dataclass(frozen=True)
class Observation:
    """`claimed`: a supervisor has begun to act; `alive`: it lives, or will begin yet.

    `stopped`: it lives, but a signal has stopped it (the kernel's word, so however late we look).
    `progress` is None if status.json has the stamp that was known, or is not there.
    """

    claimed: bool
    alive: bool
    stopped: bool
    exit: ExitRecord | None
    progress: RunProgress | None
    stamp: Stamp | None


def observe(
    executor: Executor, paths: RunPaths, epoch: int, known: Stamp | None = None
) -> Observation:
    """Reads what the run's processes of this epoch have said, and whether they live."""
    # In this order: a supervisor writes exit.json before it ends, so one that is seen dead and
    # has no exit.json afterwards never wrote any.
    is_claimed = claimed(paths, epoch)
    alive = executor.alive(paths)
    exit_record = said_by_supervisor(paths, epoch)
    stamp = _stamp(paths)
    progress = None
    if is_claimed and stamp is not None and stamp != known:
        with suppress(ValueError, TypeError):
            data = read_json(paths.status)
            progress = None if data is None else RunProgress.from_data(data)
    stopped = alive and executor.stopped(paths)
    return Observation(is_claimed, alive, stopped, exit_record, progress, stamp)


def _stamp(paths: RunPaths) -> Stamp | None:
    try:
        status = paths.status.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
