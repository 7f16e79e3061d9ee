"""The one way in which a run's state changes: compare-and-set against the table of legal moves.

`move_run` runs in the record store's thread, inside a transaction; `RunMoves` is its face for the
event loop, and tells those who wait for the run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from ..records.runs import RunRecord, find_run, next_waiting, queue, update_run
from ..records.store import RecordStore
from ..schemas.states import LEGAL_MOVES, Phase, Reason, Status
from .attempts import begun
from .notices import Notices


def move_run(
    connection: Connection,
    run_id: str,
    *,
    of_epoch: int | None = None,
    of_phase: Phase | None = None,
    phase: Phase | None = None,
    status: Status | None = None,
    **values: Any,
) -> RunRecord | None:
    """Changes a run, and returns it; None if it may not be changed so (then nothing was).

    That is: there is no such run; it was launched again since (`of_epoch` is not its epoch) or
    moved on (`of_phase` is not its phase); the phase may not follow the present one; or its status
    is final. Of a run whose status is final only the phase may go on, from `cancelling` to
    `finished`. Raises ValueError if status and phase would contradict each other. A change that
    changes nothing is not written.
    """
    record = find_run(connection, run_id)
    if record is None or of_epoch not in (None, record.epoch):
        return None
    if of_phase not in (None, record.phase):
        return None
    next_phase = phase or record.phase
    next_status = status or record.status
    if next_phase is not record.phase and next_phase not in LEGAL_MOVES[record.phase]:
        return None
    if record.ended and (next_status is not record.status or next_phase is record.phase):
        return None
    if (next_phase in (Phase.CANCELLING, Phase.FINISHED)) != (next_status is not Status.RUNNING):
        raise ValueError(f"a run cannot be {next_status.value} and {next_phase.value}")
    values.update(phase=next_phase, status=next_status)
    if all(getattr(record, name) == value for name, value in values.items()):
        return record
    return update_run(connection, record, **values)


def cancel_run(connection: Connection, run_id: str, reason: Reason) -> RunRecord | None:
    """Makes the run's status `cancelled`, if it has not ended; returns it as it is then.

    A run that has processes goes on to `cancelling`, one that waits is finished at once.
    """
    record = find_run(connection, run_id)
    if record is None or record.ended:
        return record
    values: dict[str, Any] = {"status": Status.CANCELLED, "reason": reason, "message": None}
    if Phase.CANCELLING in LEGAL_MOVES[record.phase]:
        return move_run(connection, run_id, phase=Phase.CANCELLING, **values)
    now = datetime.now(UTC)
    return move_run(connection, run_id, phase=Phase.FINISHED, ended_at=now, **values)


def claim_next_run(connection: Connection) -> RunRecord | None:
    """Takes the run that has waited longest to `starting`, with a new epoch; None if none waits."""
    run_id = next_waiting(connection)
    record = None if run_id is None else find_run(connection, run_id)
    if record is None:
        return None
    now = datetime.now(UTC)
    return move_run(
        connection,
        record.id,
        phase=Phase.STARTING,
        epoch=record.epoch + 1,
        attempt=record.attempt + 1,
        attempts=begun(record, now),
        started_at=record.started_at or now,
        message=None,
    )


class RunMoves:
    """Moves of runs, each one transaction. Everybody who waits for the run is told."""

    def __init__(self, store: RecordStore, notices: Notices) -> None:
        self._store = store
        self._notices = notices

    async def move(
        self,
        run_id: str,
        also: Callable[[Connection], object] | None = None,
        **changes: Any,
    ) -> RunRecord | None:
        """`move_run`; `also` runs in the same transaction, if the run could be moved."""

        def work(connection: Connection) -> RunRecord | None:
            record = move_run(connection, run_id, **changes)
            if record is not None and also is not None:
                also(connection)
            return record

        return await self._tell(await self._store.write(work))

    async def cancel(self, run_id: str, reason: Reason) -> RunRecord | None:
        """`cancel_run`."""
        return await self._tell(await self._store.write(lambda c: cancel_run(c, run_id, reason)))

    async def claim_next(self) -> RunRecord | None:
        """`claim_next_run`."""
        return await self._tell(await self._store.write(claim_next_run))

    async def _tell(self, record: RunRecord | None) -> RunRecord | None:
        if record is not None:
            self._notices.ring(record.id)
            if record.phase in (Phase.STARTING, Phase.FINISHED):  # others move up in the queue
                for run_id in await self._store.read(queue) if self._notices.any() else ():
                    self._notices.ring(run_id)
        return record
