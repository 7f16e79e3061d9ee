"""Asks a run's processes to end, and ends them where they do not. Runs in the server."""

from __future__ import annotations

import asyncio
import logging
import signal

from ..records.runs import RunRecord
from ..schemas.states import Reason
from .executor import Executor, read_guardian, read_identity
from .loss import pause_of
from .messages import Control
from .paths import RunPaths, write_json

log = logging.getLogger(__name__)


async def request_cancel(executor: Executor, paths: RunPaths, record: RunRecord) -> bool:
    """Tells the supervisor of a cancelled run; False if that cannot be written (disk full)."""
    reason = None if record.reason is None else record.reason.value
    control = Control(epoch=record.epoch, action="cancel", reason=reason)
    try:
        await asyncio.to_thread(write_json, paths.control, control.to_data())
    except OSError as error:
        log.warning("run %s: control.json cannot be written: %s", paths.id, error)
        return False
    await executor.signal(paths)
    return True


async def request_pause(
    executor: Executor, paths: RunPaths, record: RunRecord, resumes_by_itself: bool
) -> None:
    """Asks the supervisor to end the run's processes, which have 30 s to save a checkpoint.

    The run then waits to be resumed or, if `resumes_by_itself`, goes on with the next server: not
    one that a client has asked to pause just now. Raises OSError if that cannot be written (disk
    full).
    """
    if resumes_by_itself and await asyncio.to_thread(pause_of, paths, record.epoch) is not None:
        return
    action = "stop" if resumes_by_itself else "pause"
    reason = Reason.INTERRUPTED.value if resumes_by_itself else None
    control = Control(epoch=record.epoch, action=action, reason=reason)
    await asyncio.to_thread(write_json, paths.control, control.to_data())
    await executor.signal(paths)


async def end_by_force(paths: RunPaths, why: str) -> None:
    """Kills a supervisor that does not do its work; `why` follows "its supervisor" in the log.

    What it leaves is swept by the caller, as after any supervisor's death. Nothing of it writes
    late: a killed process does not go on, and its run process is killed with it (PDEATHSIG).
    """
    supervisor = await asyncio.to_thread(read_identity, paths.supervisor)
    if supervisor is not None and supervisor.signal(signal.SIGKILL):
        log.warning("run %s: its supervisor %s; killed", paths.id, why)


async def wake_guardian(paths: RunPaths) -> None:
    """Has the guardian of an ended run go on, and so end, if the run had stopped it."""
    guardian = await asyncio.to_thread(read_guardian, paths)
    if guardian is not None and guardian.stopped():
        guardian.signal(signal.SIGCONT)
