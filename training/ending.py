"""How a run ended, told from its folder: by its supervisor, or by the server if that is dead."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ..schemas.states import Reason, Status
from .checkpoints import CheckpointIndex
from .failures import DISK_FULL, EXIT_DISK_FULL
from .messages import PAUSED, Control, ExitRecord, RunOrder, RunResult, cut
from .paths import DAMAGED, RunPaths, open_file, read_json, write_json

_SILENT = "The run's supervisor ended without a word: it was killed, or the machine stopped."
_STOPPED = {
    Reason.TIME_LIMIT.value: "The run's time (max_seconds) was over; its last checkpoint is kept.",
    Reason.INTERRUPTED.value: "The run was stopped; its last checkpoint is kept.",
}
_TAIL = 2_000  # characters of the log looked at for a last word


@dataclass(frozen=True)
class Death:
    """How the run process ended: its exit code or its signal's number.

    `oom`: the kernel had just killed for want of memory. `note`: it ended for want of a start.
    `stopped`, `lingered` (after its result), `used` (bytes, with the `limit`): the supervisor ended
    it for that.
    """

    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    note: str = ""
    stopped: bool = False
    lingered: bool = False
    used: int = 0
    limit: int = 0


def judge(
    paths: RunPaths,
    epoch: int,
    death: Death | None,
    control: Control | None = None,
    duration_s: float = 0.0,
) -> ExitRecord:
    """The exit record of an ended run.

    `death` None: nobody saw the run process end (its supervisor is dead too). `control` is what
    the run was asked and did. A cancelled run is cancelled, whatever it had reached.
    """
    status, reason, message = _verdict(paths, death, control)
    return ExitRecord(
        epoch=epoch,
        status=status.value,
        reason=reason,
        message=cut(str(message)),
        exit_code=None if death is None else death.exit_code,
        signal=None if death is None or death.signal is None else _name(death.signal),
        ended_at=datetime.now(UTC).isoformat(),
        duration_s=round(duration_s, 3),
    )


def _verdict(
    paths: RunPaths, death: Death | None, control: Control | None
) -> tuple[Status, str, str]:
    if control is not None and control.action == "cancel":
        return Status.CANCELLED, control.reason or Reason.CANCELLED.value, ""
    result = _result(paths)
    if result is not None and result.error is None:
        return Status.DONE, Reason.COMPLETED.value, result.note or ""
    if control is not None and control.action == "pause":
        return Status.RUNNING, PAUSED, ""
    if control is not None:
        reason = control.reason or Reason.INTERRUPTED.value
        return Status.ERROR, reason, _STOPPED.get(reason, _STOPPED[Reason.INTERRUPTED.value])
    if result is not None and result.error is not None:
        return Status.ERROR, result.error["reason"], result.error["message"]
    if death is None:
        return Status.ERROR, Reason.INTERRUPTED.value, _SILENT
    reason, message = _died(paths, death)
    return Status.ERROR, reason.value, message


def _died(paths: RunPaths, death: Death) -> tuple[Reason, str]:
    if death.note:
        return Reason.START_FAILED, death.note
    if death.stopped:
        return Reason.PROCESS_DIED, (
            "The run process was stopped by a signal (SIGSTOP) and did not go on: it was ended."
        )
    if death.lingered:  # and what it said cannot be read: else that would have been told
        return Reason.PROCESS_DIED, (
            "The run process did not exit after its result was there, and was ended; that result "
            f"(result.json) cannot be read. {DAMAGED}"
        )
    if death.used:
        used, limit = death.used / 1024**2, death.limit / 1024**2
        return Reason.OUT_OF_MEMORY, (
            f"The run's processes took {used:.0f} MiB of memory, and were ended: memory_limit is "
            f"{limit:.0f} MiB."
        )
    if death.exit_code == EXIT_DISK_FULL:
        return Reason.DISK_FULL, f"{DISK_FULL} {last_words(paths)}".strip()
    if death.signal == signal.SIGKILL and death.oom:
        return Reason.OUT_OF_MEMORY, (
            "The kernel ended the run process because the machine or container had no memory left."
        )
    if death.signal == signal.SIGKILL:
        return Reason.PROCESS_DIED, (
            "The run process was killed by SIGKILL, not by this server: somebody killed it, or "
            "its memory limit was reached (out of memory)."
        )
    how = f"exited with code {death.exit_code}"
    if death.signal is not None:
        how = f"was ended by {_name(death.signal)}"
    word = last_words(paths)
    said = f" Its last words: {word}" if word else ""
    return Reason.PROCESS_DIED, f"The run process {how} before the training was over.{said}"


def last_words(paths: RunPaths) -> str:
    """The last line of the run's log that is not empty."""
    try:
        with open_file(paths.log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")


def _result(paths: RunPaths) -> RunResult | None:
    try:
        data = read_json(paths.result)
    except ValueError:
        return None
    return None if data is None else RunResult.from_data(data)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def request_of(paths: RunPaths, epoch: int) -> Control | None:
    """What the server has asked the supervisor of this epoch last, if anything."""
    with suppress(ValueError, TypeError):
        data = read_json(paths.control)
        if data is not None and data.get("epoch") == epoch:
            return Control.from_data(data)
    return None


def goes_on(paths: RunPaths) -> bool:
    """True if the run's plugin goes on from checkpoints, so that the run may be resumed."""
    try:
        return CheckpointIndex.read(paths).resumes
    except (OSError, ValueError, KeyError, TypeError):
        return False


def scrub_unless_resumed(paths: RunPaths, how: ExitRecord) -> None:
    """`scrub`, where the supervisor can tell that the run is over: else the server decides."""
    over = how.status in (Status.DONE.value, Status.CANCELLED.value)
    kept = how.reason in (PAUSED, Reason.INTERRUPTED.value)
    if over or not (kept or goes_on(paths)):
        scrub(paths)


def scrub(paths: RunPaths) -> None:
    """Removes the values of secret arguments from the folder of an ended run, where it had any."""
    if not paths.secrets.exists():
        return
    paths.body.unlink(missing_ok=True)
    data = read_json(paths.run)
    if data is not None:
        order = RunOrder.from_data(data)
        order.request = {}
        try:
            write_json(paths.run, order.to_data(), mode=0o600)
        except OSError:
            with suppress(OSError):  # a full disk keeps no secrets: rather no order than this one
                paths.run.unlink()
    paths.secrets.unlink(missing_ok=True)


def said_by_supervisor(paths: RunPaths, epoch: int) -> ExitRecord | None:
    """The exit record of this epoch; None if there is none, or only one of another epoch."""
    try:
        data = read_json(paths.exit)
    except ValueError:
        return None
    if data is None or data.get("epoch") != epoch:
        return None
    said = ExitRecord.from_data(data)
    said.message = cut(str(said.message))
    return said
