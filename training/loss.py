"""What to say of a run whose supervisor is gone or could not finish. Blocking; for a thread."""

from __future__ import annotations

import time
from contextlib import suppress

from ..schemas.states import Reason, Status
from .elapsed import seconds_since
from .ending import judge, request_of
from .executor import read_identity
from .identity import boot_id, read_stat
from .messages import Control, ExitRecord
from .paths import RunPaths, read_json

_KILLED = "The run's supervisor process was killed, not by this server, and the run with it."
_STOOD_STILL = (
    "The run's supervisor process was stopped by a signal (SIGSTOP) and did not go on: it was "
    "ended, and the run with it. If the model's code has stopped its parent process, mend that; "
    "a run is held by its `pause`, not by signals."
)


def judge_loss(paths: RunPaths, epoch: int, stood_still: bool = False) -> ExitRecord:
    """How a run ended whose supervisor died without a word; `stood_still`: we have killed it,
    since it was stopped.
    """
    if paths.trained.exists() and not paths.result.exists():
        return ExitRecord(
            epoch=epoch,
            status=Status.ERROR.value,
            reason=Reason.PUBLISH_FAILED.value,
            message="Trained, but its processes were killed before its weights were published.",
        )
    record = judge(paths, epoch, None, pause_of(paths, epoch))
    if record.reason == Reason.INTERRUPTED.value and _was_killed_alone(paths):
        record.reason = Reason.PROCESS_DIED.value
        record.message = _STOOD_STILL if stood_still else _KILLED
    return record


def pause_of(paths: RunPaths, epoch: int) -> Control | None:
    """The request to pause this epoch, if there is one."""
    asked = request_of(paths, epoch)
    return asked if asked is not None and asked.action == "pause" else None


def trained_for_s(paths: RunPaths) -> float | None:
    """Seconds since train() returned, None if it has not: from then on only the finish step is due.

    Told from the file, so that it goes on counting over restarts of the server; by no clock that
    can be set, but for a run that was trained before the machine's boot.
    """
    with suppress(ValueError):
        seconds = seconds_since((read_json(paths.trained) or {}).get("at"))
        if seconds is not None:
            return seconds
    with suppress(FileNotFoundError):
        return max(0.0, time.time() - paths.trained.stat().st_mtime)
    return None


def _was_killed_alone(paths: RunPaths) -> bool:
    """True if the machine, or container, in which the supervisor lived still runs."""
    supervisor = read_identity(paths.supervisor)
    if supervisor is None or supervisor.boot_id != boot_id():
        return False
    # The first process of this PID namespace: one that is younger than the supervisor says that
    # the container of the supervisor has ended, on a machine that did not.
    first = read_stat(1)
    return first is None or first.start_time <= supervisor.start_time
