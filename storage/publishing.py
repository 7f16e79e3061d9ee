"""Brings bundles to the shared store, however long it is away: from the copy on this disk.

Runs in the server. Nothing is remembered here that a restart would lose: what is not in the store
yet is told by the records, and added again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Conflict, DiskFull, ModelyardError, StorageUnavailable, StoreRefused
from .office import StorageOffice
from .weights import FAILED, PUBLISHING, READY

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Bundles that are published at the same time: one waits for its packs while one sends."""
REFUSALS = 5
"""Refused so often (credentials, bucket) a bundle is `failed`: an operator has to mend it."""


@dataclass(frozen=True)
class PublishState:
    """How far a bundle is: `publishing`, `ready` or `failed`; `reason` is what went wrong last."""

    state: str
    reason: str | None = None
    attempts: int = 0


OnState = Callable[[PublishState], Awaitable[None]]
"""Records a state. If it raises, the bundle is published again, which is cheap."""


@dataclass
class _Job:
    kind: str
    key: str
    folder: Path
    on_state: OnState
    attempts: int
    undelete: bool
    mend: bool
    refusals: int = 0
    progress: tuple[int, int] | None = None
    again: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Publisher:
    """The queue of bundles that the store does not have yet.

    A store that cannot be reached is asked again after 1 s, 2 s, ... `longest_s`, for ever, and by
    one bundle at a time; what trying again cannot mend (the bundle is damaged, or was deleted) is
    `failed` at once, and waits for `retry`.
    """

    def __init__(
        self, office: StorageOffice, first_s: float = 1.0, longest_s: float = 300.0
    ) -> None:
        self._office = office
        self._first_s, self._longest_s = first_s, longest_s
        self._pause_s = 0.0
        self._places = asyncio.Semaphore(AT_ONCE)
        self._jobs: dict[str, _Job] = {}

    async def close(self) -> None:
        """Stops. What was not published is added again at the next start."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(
        self,
        kind: str,
        key: str,
        folder: Path,
        on_state: OnState,
        attempts: int = 0,
        undelete: bool = False,
        mend: bool = False,
    ) -> None:
        """Publishes the bundle `folder`; returns at once. One that is under way is left alone.

        `kind` and `key` are those of `StorageOffice.publish`. `undelete` publishes it even if
        somebody deleted it once: what a person asks for by an import. `mend` reads again all that
        the store should have of it.
        """
        if key in self._jobs:
            return
        job = self._jobs[key] = _Job(kind, key, folder, on_state, attempts, undelete, mend)
        job.task = asyncio.ensure_future(self._run(job))

    def retry(self, key: str) -> bool:
        """Tries again now; False if nothing of this key waits."""
        job = self._jobs.get(key)
        if job is None:
            return False
        self._pause_s = 0.0
        job.again.set()
        return True

    async def remove(self, key: str) -> None:
        """Publishes it no more: it is being deleted."""
        job = self._jobs.pop(key, None)
        if job is not None and job.task is not None:
            job.task.cancel()
            with suppress(asyncio.CancelledError):
                await job.task

    @property
    def backlog(self) -> int:
        """Bundles that the store does not have yet, also those that wait for an operator."""
        return len(self._jobs)

    def progress(self, key: str) -> tuple[int, int] | None:
        """Bytes sent and bytes in all of what is being sent now, else None."""
        job = self._jobs.get(key)
        return None if job is None else job.progress

    # -- one bundle -------------------------------------------------------------------------------

    async def _run(self, job: _Job) -> None:
        try:
            while True:
                async with self._places:
                    pause = await self._try(job)
                if pause == 0 and not job.again.is_set():
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await job.again.wait()
                job.again.clear()
        finally:
            if self._jobs.get(job.key) is job:
                del self._jobs[job.key]

    async def _try(self, job: _Job) -> float | None:
        """Seconds until the next try; 0: it is published; None: nobody knows what would help."""
        job.attempts += 1
        job.progress = None
        try:
            await self._office.publish(
                *(job.kind, job.key, job.folder),
                lambda *sent: _tell(job, sent),
                undelete=job.undelete,
                mend=job.mend,
            )
            job.again.clear()  # who asks from here on, asks for another time
            await job.on_state(PublishState(READY, None, job.attempts))
            self._pause_s = 0.0
            return 0.0
        except StoreRefused as error:
            job.refusals += 1
            told = FAILED if job.refusals >= REFUSALS else PUBLISHING
            await self._told(job, told, error.message)
            return self._longest_s if told == FAILED else self._longer_pause()
        except (StorageUnavailable, OSError) as error:
            await self._told(job, PUBLISHING, str(error))
            return self._longer_pause()
        except ModelyardError as error:
            await self._told(job, FAILED, error.message)
            return None
        except Exception as error:
            log.exception("%s cannot be published", job.key)
            await self._told(job, FAILED, f"{type(error).__name__}: {error}")
            return self._longest_s
        finally:
            job.progress = None

    async def _told(self, job: _Job, state: str, reason: str) -> None:
        log.warning("%s is not published (attempt %d): %s", job.key, job.attempts, reason)
        # A full disk takes no records either; what is told next is as good.
        with suppress(StorageUnavailable, DiskFull):
            await job.on_state(PublishState(state, reason, job.attempts))

    def _longer_pause(self) -> float:
        # Shared by all bundles: a store that is down is not asked by each of a thousand in turn.
        self._pause_s = min(max(self._first_s, 2 * self._pause_s), self._longest_s)
        return self._pause_s


def can_retry(publisher: Publisher | None, what: str, stored: bool, here: bool) -> Publisher:
    """The publisher, if it can be asked for a `what` (a word for messages) once more.

    Raises Conflict: there is no store (with the detail `store`), or the store has it and this disk
    has not.
    """
    if publisher is None:
        raise Conflict(
            f"This server has no shared store (--storage): its {what}s are on its own disk.",
            store=None,
        )
    if stored and not here:
        raise Conflict(
            f"The {what} is not on this server's disk, so the store cannot be mended from here: "
            "retry it on the server that has it. Where the store still gives it whole, it can be "
            "fetched here first."
        )
    return publisher


def _tell(job: _Job, sent: tuple[int, ...]) -> None:
    job.progress = (sent[0], sent[1])
