"""What to say of a run whose supervisor is gone without a word. Blocking; runs in a thread."""

from __future__ import annotations

from ..schemas.states import Reason
from .ending import judge
from .executor import read_identity
from .identity import boot_id, read_stat
from .messages import ExitRecord
from .paths import RunPaths


def judge_loss(paths: RunPaths, epoch: int) -> ExitRecord | None:
    """How the run ended; None if train() had returned and only the finish step is missing."""
    if paths.trained.exists() and not paths.result.exists():
        return None
    record = judge(paths, epoch, None)
    if record.reason == Reason.INTERRUPTED.value and _was_killed_alone(paths):
        record.reason = Reason.PROCESS_DIED.value
        record.message = (
            "The run's supervisor process was killed, not by this server, and the run with it."
        )
    return record


def _was_killed_alone(paths: RunPaths) -> bool:
    """True if the machine, or container, in which the supervisor lived still runs."""
    supervisor = read_identity(paths.supervisor)
    if supervisor is None or supervisor.boot_id != boot_id():
        return False
    # The first process of this PID namespace: one that is younger than the supervisor says that
    # the container of the supervisor has ended, on a machine that did not.
    first = read_stat(1)
    return first is None or first.start_time <= supervisor.start_time
