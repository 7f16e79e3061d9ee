"""The run service: submit, look at, follow and cancel trainings. Runs in the server.

    api/train.py -> RunService -> Submissions (run folder, record)
                    Scheduler  -> RunLife (launch, watch) -> Conclusion (version, record)

A run that `submit` has returned is never lost: its folder is whole and its record committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ..errors import Busy, DiskFull, RunConflict, RunNotFound
from ..models_plugin.plugin import PluginSource
from ..records.home import Home
from ..records.runs import RunRecord, known_ids, set_tidied, untidied_runs
from ..records.store import RecordStore
from ..schemas.states import PAUSABLE, Phase, Reason, Status
from ..schemas.transport import RequestData
from ..storage.weights import WeightsVersion, WeightsVersions
from .conclusion import Conclusion
from .ending import goes_on
from .executor import Executor
from .life import RunLife, Surroundings
from .listing import RunListing
from .moves import RunMoves
from .notices import Notices, wait_event
from .options import RunLimits, TrainingOptions
from .orders import GONE, remove_unrecorded, tidy
from .paths import RunPaths
from .resuming import Resumption, resumption_of
from .scheduler import Scheduler
from .submission import Asked, DatasetRef, Submission, Submissions

__all__ = ["RunRecord", "RunService", "TrainingOptions"]

log = logging.getLogger(__name__)

_STOP_LIMIT_S, _PAUSE_SPARE_S = 9.0, 3.0
_LOOK_AGAIN_S = 0.02


class RunService(RunListing):
    """The trainings of one home. `start` adopts what an earlier server left; `close` as `on_stop`.

    `on_ended(record, version)` is awaited after each run, with the weights that it made or None;
    `on_publishing(model)` is called when a run is about to publish. The executor is the caller's to
    close, afterwards. `turns` are held, by run, where an ended one's folder is read or removed.
    """

    def __init__(
        self,
        store: RecordStore,
        home: Home,
        executor: Executor,
        versions: WeightsVersions,
        options: TrainingOptions,
        on_ended: Callable[[RunRecord, WeightsVersion | None], Awaitable[None]],
        on_publishing: Callable[[str], None],
    ) -> None:
        super().__init__(store)
        self._home = home
        self._executor = executor
        self._versions = versions
        self._options = options
        self._notices = Notices()
        self._moves = RunMoves(store, self._notices)
        self._scheduler = Scheduler(self._moves, options.max_trainings, self._begin)
        self._conclusion = Conclusion(store, self._moves, versions, options, on_ended)
        self._around = Surroundings(
            store=store,
            moves=self._moves,
            executor=executor,
            versions=versions,
            conclusion=self._conclusion,
            options=options,
            release=self._scheduler.release,
            wake=self._scheduler.wake,
            on_publishing=on_publishing,
        )
        self._submissions = Submissions(store, home, versions, options, self._scheduler.wake)
        self.turns = self._submissions.turns
        self._lives: dict[str, RunLife] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduling: asyncio.Task[None] | None = None
        self._open = False

    # -- lifetime ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes over the runs of an earlier server, removes what it left half made, and begins.

        Returns before adopted runs are told apart: what has ended meanwhile is recorded within
        seconds, from their run folders.
        """
        await self._versions.start()
        folders = await asyncio.to_thread(_ids_in, self._home.runs)
        known = await self._store.read(lambda c: known_ids(c, folders))
        await asyncio.to_thread(remove_unrecorded, self._home.runs, known)
        for record in await self._store.read(untidied_runs):
            if record.finished:
                self._spawn(self._tidy(record))
            elif record.phase not in (Phase.QUEUED, Phase.PAUSED):
                if record.phase is not Phase.RETRY_WAIT:
                    self._scheduler.hold(record.id)
                self._live(record, launch=False)
        self._open = True
        self._scheduling = self._spawn(self._scheduler.run())

    async def close(self) -> None:
        """Stops following the runs; as `on_stop` says, cancels them first (9 s at most), or has
        those that can go on save a checkpoint and end (`stop_grace_s` and 3 s at most)."""
        self._open = False
        await self._submissions.close()
        if self._options.on_stop == "cancel":
            await self._cancel_all()
        elif self._options.on_stop == "pause":
            await self._pause_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._conclusion.close()

    async def _cancel_all(self) -> None:
        records = await self._store.read(untidied_runs)
        # The waiting ones first: none of them must take the place of one that ends.
        for record in sorted(records, key=lambda one: one.phase is not Phase.QUEUED):
            if not record.ended:
                await self._cancel(record.id, Reason.STOPPED)
        await self._without_lives(lambda: self._lives, _STOP_LIMIT_S)

    async def _pause_all(self) -> None:
        if self._scheduling is not None:
            self._scheduling.cancel()  # what ends now goes on with the next server
        asked: list[RunLife] = []
        for run_id, life in list(self._lives.items()):
            record = await self._find(run_id)
            if record.phase in PAUSABLE and await asyncio.to_thread(goes_on, self.paths(record)):
                with suppress(OSError):  # the disk is full: it is left running
                    if await life.pause(resumes_by_itself=True):
                        asked.append(life)
        await self._without_lives(
            lambda: [life for life in asked if life in self._lives.values() and not life.waits],
            self._options.stop_grace_s + _PAUSE_SPARE_S,
        )

    async def _without_lives(self, living: Callable[[], Any], limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while living():
                    await asyncio.sleep(0.05)

    @property
    def under_way(self) -> int:
        """How many runs have processes now."""
        return sum(not life.waits for life in self._lives.values())

    # -- submit -----------------------------------------------------------------------------------

    async def submit(
        self,
        source: PluginSource,
        request: RequestData,
        record_args: Mapping[str, Any],
        secrets: Sequence[str],
        files_folder: Path | None,
        idempotency_key: str | None = None,
        principal: str = "",
        name: str | None = None,
        tags: Sequence[str] = (),
        dataset: DatasetRef | None = None,
        repeats: str | None = None,
        seed: int | None = None,
        resumes: Resumption | None = None,
        run_id: str | None = None,
        limits: RunLimits = RunLimits(),  # noqa: B008 - frozen
        asked: Asked | None = None,
    ) -> RunRecord:
        """Records a run that will start by itself; what is returned survives whatever happens.

        `record_args` are the validated arguments as JSON without the secret ones, which `secrets`
        names. Uploads are moved out of `files_folder`. With an Idempotency-Key that was used in
        the last 24 hours by the same `principal` for the same request, the run of that time is
        returned, and one in progress is waited for. `dataset` is a version that is here, and stays
        as long as the run may need it; `repeats` is the weights version whose training is made
        again, with its `seed` (None: the argument `seed`, or a random one). `resumes` is the ended
        run that this one goes on with (see `resumption`). `run_id` is the id that it gets; `asked`
        is what the client said itself, where the server has completed `request`.

        Raises IdempotencyConflict for another request, RunConflict if another run goes on with
        that one, DiskFull, StorageUnavailable, and Busy while the server stops.
        """
        if not self._open:
            raise Busy("The server is stopping; no new runs are taken.")
        return await self._submissions.submit(
            Submission(
                source=source,
                request=request,
                args=dict(record_args),
                secrets=secrets,
                files_folder=files_folder,
                key=idempotency_key,
                principal=principal,
                name=name,
                tags=tags,
                dataset=dataset,
                repeats=repeats,
                seed=seed,
                resumes=resumes,
                run_id=run_id,
                limits=limits,
                asked=asked,
            )
        )

    # -- cancel -----------------------------------------------------------------------------------

    async def cancel(self, model: str, run_id: str) -> RunRecord:
        """Cancels a run; of one that has ended nothing changes. Its record stays.

        The record is `cancelled` when this returns; the processes are gone within 5 s. Raises
        RunNotFound.
        """
        await self.get(model, run_id)
        return await self._cancel(run_id, Reason.CANCELLED)

    async def _cancel(self, run_id: str, reason: Reason) -> RunRecord:
        record = await self._moves.cancel(run_id, reason)
        if record is None:
            raise RunNotFound(f"There is no run {run_id}.")
        life = self._lives.get(run_id)
        if record.phase is Phase.CANCELLING and life is not None:
            await life.cancelled()
        elif record.finished and not record.tidied:
            self._spawn(self._tidy(record))
            if life is not None:
                life.poke()
        return record

    # -- pause and resume -------------------------------------------------------------------------

    async def pause(self, model: str, run_id: str) -> RunRecord:
        """Has a run save a checkpoint and end its processes; it keeps its id, request and files.

        The record may still be in its phase when this returns: `paused` follows within the grace.
        Of a paused run nothing changes. Raises RunNotFound, RunConflict (it has ended, publishes,
        or cannot go on), DiskFull, and Busy while the server stops.
        """
        while True:
            record = await self.get(model, run_id)
            if record.phase is Phase.PAUSED:
                return record
            if record.phase in (Phase.QUEUED, Phase.RETRY_WAIT):
                moved = await self._moves.move(
                    run_id, of_epoch=record.epoch, of_phase=record.phase, phase=Phase.PAUSED
                )
                life = self._lives.get(run_id)
                if life is not None:
                    life.poke()
                if moved is not None:
                    return moved
                continue  # it was launched in this moment
            asked = await self._pause_processes(record)
            if asked is not None:
                return asked
            await asyncio.sleep(_LOOK_AGAIN_S)  # it has moved on, or is about to begin

    async def _pause_processes(self, record: RunRecord) -> RunRecord | None:
        """None if there were no processes to ask: the record is to be looked at again."""
        if record.phase not in PAUSABLE:
            told = f"{record.status.value}, {record.phase.value}"
            raise RunConflict(f"The run cannot be paused: it is {told}.")
        known = await asyncio.to_thread(goes_on, self.paths(record))
        if not known and record.phase is not Phase.STARTING:
            raise RunConflict(
                f"The model {record.model} does not go on from checkpoints (its train() never asks "
                "for run.resume_from): pausing would lose what is trained. DELETE cancels the run."
            )
        if not self._open:
            raise Busy("The server is stopping; its runs go on as they were told to.")
        life = self._lives.get(record.id)
        try:
            if life is None or not await life.pause():
                return None
        except OSError as error:
            raise DiskFull(f"The request to pause cannot be written: {error}") from error
        # Of its phase: it may have paused, or ended, by now, and says so itself.
        message = "Pausing: it saves a checkpoint."
        moved = await self._moves.move(
            record.id, of_epoch=record.epoch, of_phase=record.phase, message=message
        )
        return moved or await self._find(record.id)

    async def go_on(
        self, model: str, run_id: str, also: Callable[[Connection], None] | None = None
    ) -> RunRecord:
        """Has a paused run wait for a place again; one that waits to try again does so at once.

        `also` is done in the same transaction. Raises RunNotFound, RunConflict for any other run,
        and Busy while the server stops.
        """
        if not self._open:
            raise Busy("The server is stopping; no runs are started.")
        record = await self.get(model, run_id)
        if record.phase in (Phase.PAUSED, Phase.RETRY_WAIT):
            moved = await self._moves.move(
                run_id, also, of_epoch=record.epoch, of_phase=record.phase, phase=Phase.QUEUED
            )
            if moved is not None:
                life = self._lives.get(run_id)
                if life is not None:
                    life.poke()
                self._scheduler.wake()
                return moved
            record = await self.get(model, run_id)
        raise RunConflict(
            f"There is nothing to resume: the run is {record.status.value}, {record.phase.value}."
        )

    async def resumption(self, record: RunRecord) -> Resumption:
        """What an ended run leaves to one that goes on with it, for `submit`. Raises RunConflict
        where it cannot be gone on with."""
        return await asyncio.to_thread(resumption_of, record, self.paths(record))

    # -- follow -----------------------------------------------------------------------------------

    async def wait_change(self, run_id: str, rev: int, timeout_s: float) -> RunRecord:
        """The record, as soon as it is another revision than `rev`, or when the time is over.

        Raises RunNotFound.
        """
        with self._notices.listen(run_id) as event:
            record = await self._find(run_id)
            if record.rev == rev and await wait_event(event, timeout_s):
                record = await self._find(run_id)
            return record

    async def changes(self, run_id: str) -> AsyncIterator[RunRecord]:
        """The record now and after each change (its place in the queue too) until it is finished.

        Changes that follow each other quickly may be seen as one. Raises RunNotFound.
        """
        last: tuple[int, int | None] | None = None
        with self._notices.listen(run_id) as event:
            while True:
                event.clear()
                record = await self._find(run_id)
                if (record.rev, record.position) != last:
                    last = (record.rev, record.position)
                    yield record
                if record.finished:
                    return
                await event.wait()

    def paths(self, record: RunRecord) -> RunPaths:
        """The run's folder."""
        return RunPaths(self._home.runs / record.id)

    # -- lives ------------------------------------------------------------------------------------

    def _begin(self, record: RunRecord) -> None:
        self._live(record, launch=True)

    def _live(self, record: RunRecord, launch: bool) -> None:
        life = RunLife(record, self.paths(record), self._around, launch)
        self._lives[record.id] = life
        self._spawn(self._run_life(record.id, life))

    async def _run_life(self, run_id: str, life: RunLife) -> None:
        try:
            await life.run()
        finally:
            if self._lives.get(run_id) is life:
                del self._lives[run_id]

    async def _tidy(self, record: RunRecord) -> None:
        if await asyncio.to_thread(tidy, self.paths(record), record.status is Status.DONE):
            await self._store.write(lambda c: set_tidied(c, record.id))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the run service failed", exc_info=task.exception())


def _ids_in(folder: Path) -> list[str]:
    return [path.name.removeprefix(GONE) for path in folder.iterdir()]
