"""One active run seen from the server: launched, watched, ended. One task of the event loop each.

Every step reads what it needs from the record and the run folder, so the task may end at any line
(the server is killed) and another one goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Busy, CannotLaunch, ModelyardError, NotFound, StorageUnavailable
from ..records.runs import Progress, RunRecord, find_run
from ..records.store import RecordStore
from ..schemas.states import PAUSABLE, Phase, Reason, Status
from ..standstill import RUN_LOOKS, Standstill
from ..storage.weights import WeightsVersions
from .attempts import may_be_restarted, over, wait_s
from .conclusion import Conclusion
from .executor import Executor
from .loss import judge_loss, pause_of, trained_for_s
from .messages import LONGEST_TEXT, PAUSED, ExitRecord, RunProgress, cut
from .moves import RunMoves
from .notices import wait_event
from .observation import Observation, Stamp, observe
from .options import TrainingOptions
from .orders import fence, prepare_launch
from .paths import DAMAGED, RunPaths
from .resuming import count_interruption, was_interrupted, where
from .stopping import end_by_force, request_cancel, request_pause, wake_guardian
from .supervisor_exit import SupervisorExit

log = logging.getLogger(__name__)

_PAUSE_SPARE_S = 15.0  # beyond the grace that the supervisor gives
_GONE = "Its folder is gone: the training itself may have removed it."
_TROUBLE_S = 1.0
"""Pause after a step failed (the disk is full, the database locked) until it is tried again."""


@dataclass(frozen=True)
class Surroundings:
    """What every life needs; made once by the run service."""

    store: RecordStore
    moves: RunMoves
    executor: Executor
    versions: WeightsVersions
    conclusion: Conclusion
    options: TrainingOptions
    release: Callable[[str], None]
    wake: Callable[[], None]
    on_publishing: Callable[[str], None]


class RunLife:
    """The life of one run from `starting` on; `run` returns when it has ended or waits again.

    `launch` False: an earlier server launched it, and it is adopted.
    """

    def __init__(self, record: RunRecord, paths: RunPaths, around: Surroundings, launch: bool):
        self._record = record
        self._epoch = record.epoch  # of this life; the next launch is another one
        self._paths = paths
        self._around = around
        self._launch_it = launch
        self._adopted = not launch
        self._poke = asyncio.Event()
        self._asking = asyncio.Lock()  # control.json says what was asked for last
        self.waits = False  # to be tried again; without processes meanwhile
        self._force_at: float | None = None  # monotonic; a cancelled run is ended by us after it
        self._claim_by = time.monotonic() + (around.options.start_limit_s if launch else 0.0)
        self._standstill = Standstill(RUN_LOOKS)
        self._stood_still = False  # its supervisor did, so that we have killed it
        self._stamp: Stamp | None = None
        self._written_at = 0.0
        self._unwritten: RunProgress | None = None
        self._told_publishing = False

    async def run(self) -> None:
        """Raises nothing but CancelledError: trouble is logged, and the step made again."""
        while True:
            try:
                if await self._live():
                    return
            except (ModelyardError, OSError) as error:
                log.warning("run %s: %s; trying again", self._record.id, error)
                await asyncio.sleep(_TROUBLE_S)
            except Exception:
                log.exception("run %s: trying again", self._record.id)
                await asyncio.sleep(10 * _TROUBLE_S)

    def poke(self) -> None:
        """Says that the record has changed."""
        self._poke.set()

    async def pause(self, resumes_by_itself: bool = False) -> bool:
        """Asks the processes to end, with a checkpoint; in the end the supervisor is forced.

        False if they are not this life's to ask any more: the run was cancelled, has ended, or was
        launched again. Raises OSError if the request cannot be written.
        """
        async with self._asking:
            record = await self._read()
            if record.epoch != self._epoch or record.phase not in PAUSABLE:
                return False
            await request_pause(self._around.executor, self._paths, record, resumes_by_itself)
            self._force_at = self._force_at or time.monotonic() + (
                self._around.options.stop_grace_s + _PAUSE_SPARE_S
            )
        self._poke.set()
        return True

    async def cancelled(self) -> None:
        """The record says `cancelled` now: the processes are asked to end, in the end forced."""
        async with self._asking:
            self._record = await self._read()
            self._force_at = time.monotonic() + self._around.options.cancel_limit_s
            if not await request_cancel(self._around.executor, self._paths, self._record):
                self._force_at = 0.0
        self._poke.set()

    # -- steps ------------------------------------------------------------------------------------

    async def _live(self) -> bool:
        self._record = await self._read()
        if self._record.finished or self._record.phase in (Phase.QUEUED, Phase.PAUSED):
            return True
        if self._record.epoch != self._epoch:
            return True
        if self._record.phase is Phase.RETRY_WAIT:
            return await self._wait_to_retry()
        if self._launch_it:
            if self._record.ended:  # cancelled before it was launched
                return await self._end(_exit(self._record.epoch, Status.CANCELLED, ""))
            problem = await self._launch()
            self._launch_it = False
            if problem is not None:
                return await self._not_started(problem, attempts=1)
        elif self._record.ended and self._force_at is None:
            await self.cancelled()  # the server ended between the record and the request
        return await self._watch()

    async def _launch(self) -> str | None:
        """Starts the run's processes; what went wrong, if that cannot be done."""
        around, record = self._around, self._record
        try:
            names = await self._names()
            source = await asyncio.to_thread(
                prepare_launch, self._paths, record.epoch, names, around.options.sources
            )
            environment = around.options.environment(source, self._paths.tmp)
            await around.executor.launch(self._paths, record.epoch, environment, source.python)
        except (FileNotFoundError, ValueError, TypeError) as error:
            return f"Its folder is damaged ({error}). {DAMAGED}"
        except CannotLaunch as error:
            return error.message
        self._claim_by = time.monotonic() + around.options.start_limit_s
        return None

    async def _names(self) -> dict[str, str]:
        """Aliases of weights as they are now; an alias may have moved since the submission."""
        versions, record = self._around.versions, self._record
        try:
            return await versions.for_run(record.model, record.args.values())
        except (Busy, NotFound, StorageUnavailable) as error:
            log.warning("run %s: weights that it names are not here: %s", record.id, error.message)
            return await versions.aliases(record.model)

    async def _watch(self) -> bool:
        supervisor = SupervisorExit(self._paths, self._poke.set)
        try:
            while True:
                self._poke.clear()
                seen = await asyncio.to_thread(
                    observe, self._around.executor, self._paths, self._record.epoch, self._stamp
                )
                if seen.exit is not None:
                    await wake_guardian(self._paths)
                    return await self._ended(seen.exit)
                if seen.claimed and not seen.alive:
                    return await self._lost()
                late = time.monotonic() > self._claim_by
                missing = not seen.claimed and (late or not seen.alive)
                if missing and await self._not_started("No process appeared for it."):
                    return True
                if seen.claimed:
                    supervisor.watch()
                    await self._tell_progress(seen)
                if self._force_at is not None and time.monotonic() > self._force_at:
                    await end_by_force(self._paths, "did not end it in time")
                if seen.claimed and self._standstill.look(seen.stopped):
                    self._stood_still = True  # killed, it may have told the run's end before
                    await end_by_force(self._paths, "was stopped and did not go on")
                await wait_event(self._poke, self._around.options.poll_s)
        finally:
            supervisor.close()

    async def _tell_progress(self, seen: Observation) -> None:
        """Brings phase and progress into the record: a phase at once, progress twice a second."""
        self._stamp = seen.stamp
        self._unwritten = seen.progress or self._unwritten
        progress = self._unwritten
        if progress is None or self._record.ended:
            return
        changes: dict[str, Any] = {"progress": _progress(progress)}
        phase = _phase(progress)
        if phase is not None and phase is not self._record.phase:
            changes["phase"] = phase
        elif time.monotonic() < self._written_at + self._around.options.progress_s:
            return
        moved = await self._around.moves.move(
            self._record.id, of_epoch=self._record.epoch, **changes
        )
        self._unwritten = None
        self._written_at = time.monotonic()
        self._record = moved or await self._read()
        if self._record.phase in (Phase.EVALUATING, Phase.PUBLISHING):
            self._tell_publishing()

    async def _end(self, how: ExitRecord) -> bool:
        self._around.release(self._record.id)
        if how.status == Status.DONE.value:
            self._tell_publishing()
        await self._around.conclusion.conclude(self._record, self._paths, how, self._poke)
        return True

    async def _lost(self) -> bool:
        """The supervisor died without a word: its processes are ended, and the end is judged."""
        await self._around.executor.sweep(self._paths)
        how = await asyncio.to_thread(
            judge_loss, self._paths, self._record.epoch, self._stood_still
        )
        return await self._ended(how)

    async def _ended(self, how: ExitRecord) -> bool:
        """Ends the run, or, where only its finish step failed, has that made again later."""
        self._record = await self._read()
        if how.reason == Reason.PUBLISH_FAILED.value and not self._record.ended:
            trained_s = await asyncio.to_thread(trained_for_s, self._paths)
            if trained_s is not None and trained_s < self._around.options.publish_limit_s:
                return await self._go_on(how, "Trying again, without training again.")
        if how.reason == PAUSED and not self._record.ended:
            return await self._paused()
        if not self._record.ended and await asyncio.to_thread(was_interrupted, self._paths, how):
            count = await asyncio.to_thread(count_interruption, self._paths, self._record.epoch)
            if count <= self._around.options.resume_attempts:
                place = await asyncio.to_thread(where, self._paths)
                return await self._go_on(how, f"Going on {place}.")
        if not self._record.ended and may_be_restarted(self._record, how):
            return await self._restart(how)
        return await self._end(how)

    async def _restart(self, how: ExitRecord) -> bool:
        """Has a failed run begun again after a while, as it was asked to be."""
        record = self._record
        count = record.restarts + 1
        place = await asyncio.to_thread(where, self._paths)
        told = f"Restart {count} of {record.restart_on_failure}, {place}."
        return await self._go_on(how, told, restarts=count)

    async def _paused(self) -> bool:
        if self._paths.trained.exists():
            done = "Trained; only the finish step is left."
            return await self._go_on(_exit(self._epoch, Status.RUNNING, PAUSED), done)
        place = await asyncio.to_thread(where, self._paths)
        message = f"Paused; goes on {place} when it is resumed."
        moved = await self._around.moves.move(
            self._record.id,
            of_epoch=self._record.epoch,
            phase=Phase.PAUSED,
            message=message,
            attempts=over(self._record.attempts, None, message),
        )
        self._around.release(self._record.id)
        return moved is not None

    async def _go_on(self, how: ExitRecord, what_follows: str, **values: Any) -> bool:
        message = f"{how.message} {what_follows}".strip()
        reason = None if how.reason == PAUSED else how.reason
        moved = await self._around.moves.move(
            self._record.id,
            of_epoch=self._record.epoch,
            phase=Phase.RETRY_WAIT,
            message=message,
            attempts=over(self._record.attempts, reason, message),
            **values,
        )
        self._around.release(self._record.id)
        self._record = moved or self._record
        return moved is not None and await self._wait_to_retry()

    async def _wait_to_retry(self) -> bool:
        """Back to the queue after a pause, in which the run holds no place."""
        self._poke.clear()
        self.waits = True
        await wait_event(self._poke, wait_s(self._record, self._around.options.restart_wait_s))
        self.waits = False
        moved = await self._around.moves.move(
            self._record.id,
            of_epoch=self._epoch,
            of_phase=Phase.RETRY_WAIT,
            phase=Phase.QUEUED,
        )
        if moved is not None:
            self._around.wake()
        return moved is not None

    async def _not_started(self, problem: str, attempts: int | None = None) -> bool:
        """No supervisor has begun: none will any more, and the run waits again or is given up."""
        if await asyncio.to_thread(_is_gone, self._paths.root):
            problem, attempts = f"{_GONE} {DAMAGED}", 1
        elif not await asyncio.to_thread(fence, self._paths, self._record.epoch):
            return False  # one has begun in the last moment
        await self._around.executor.sweep(self._paths)
        record = self._record = await self._read()
        if record.ended:
            return await self._end(_exit(record.epoch, Status.CANCELLED, ""))
        if await asyncio.to_thread(pause_of, self._paths, record.epoch) is not None:
            return await self._paused()  # nobody was there to be asked, but it was promised
        if self._adopted:  # the server ended in the middle of the launch: that was no attempt
            before = record.attempts[:-1]
            return await self._wait_again(attempt=record.attempt - 1, attempts=before)
        limit = self._around.options.start_attempts if attempts is None else attempts
        if record.attempt < limit:
            told = over(record.attempts, Reason.START_FAILED.value, problem)
            return await self._wait_again(attempts=told)
        failed = await asyncio.to_thread(trained_for_s, self._paths) is not None
        reason = Reason.PUBLISH_FAILED if failed else Reason.START_FAILED
        return await self._ended(_exit(record.epoch, Status.ERROR, reason.value, problem))

    async def _wait_again(self, **changes: Any) -> bool:
        """Back to the queue, at the place that its age gives it."""
        moved = await self._around.moves.move(
            self._record.id, of_epoch=self._record.epoch, phase=Phase.QUEUED, **changes
        )
        self._around.release(self._record.id)
        return moved is not None

    def _tell_publishing(self) -> None:
        if not self._told_publishing:
            self._told_publishing = True
            try:
                self._around.on_publishing(self._record.model)
            except Exception:
                log.exception("run %s: on_publishing failed", self._record.id)

    async def _read(self) -> RunRecord:
        record = await self._around.store.read(lambda c: find_run(c, self._record.id))
        assert record is not None, "records of runs are never removed"
        return record


def _exit(epoch: int, status: Status, reason: str, message: str = "") -> ExitRecord:
    return ExitRecord(epoch=epoch, status=status.value, reason=reason, message=message)


def _phase(progress: RunProgress) -> Phase | None:
    try:
        return Phase(progress.phase)
    except ValueError:  # a word of a newer release
        return None


def _progress(progress: RunProgress) -> Progress:
    return Progress(
        done=progress.done,
        total=progress.total,
        text=cut(progress.text, LONGEST_TEXT),
        step=progress.step,
    )


def _is_gone(folder: Path) -> bool:
    """Not so if the whole disk is."""
    return folder.parent.exists() and not folder.exists()
