"""Rows of the table `runs`: one training each, as the server records it.

Functions take a connection and run in the record store's thread. They know columns, not rules:
what may follow what is decided in `training/moves.py`, the only caller of `update_run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from ..schemas.states import Phase, Reason, Status
from .tables import idempotency, runs


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` of `total` in the plugin's own unit; `step` as last reported."""

    done: float | None = None
    total: float | None = None
    text: str = ""
    step: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run that is done has to tell: DEEPaaS's three keys.

    `finish_date` is local time, `YYYY-MM-DD HH:MM:SS.ffffff`; `duration` is `H:MM:SS.ffffff`, from
    the start of its processes on.
    """

    output: Any
    finish_date: str
    duration: str


@dataclass(frozen=True)
class Attempt:
    """One time that a run was begun. Times are RFC 3339 in UTC; `ended_at` None: not over yet.

    `reason` is a word of `Reason`; None of one that was paused. `message` says what followed.
    """

    number: int
    started_at: str
    ended_at: str | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """One training. `position` counts the queue from 1 and is None for a run that does not wait.

    `date` is DEEPaaS's: local time without a zone. `epoch` counts launches (0: never launched);
    `attempt` counts those after which the run may train; `rev` grows with each change of the row.
    `max_seconds` is what its processes may take together; after a failure it is begun again at most
    `restart_on_failure` times, and has been `restarts` times.
    """

    id: str
    model: str
    args: Mapping[str, Any]
    date: str
    created_at: datetime
    status: Status = Status.RUNNING
    phase: Phase = Phase.QUEUED
    reason: Reason | None = None
    message: str | None = None
    progress: Progress = field(default_factory=Progress)
    result: Outcome | None = None
    weights: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    epoch: int = 0
    attempt: int = 0
    rev: int = 1
    tidied: bool = False
    principal: str = ""
    name: str | None = None
    tags: Sequence[str] = ()
    dataset: str | None = None
    resumed_from: str | None = None
    repeats: str | None = None
    max_seconds: float | None = None
    restart_on_failure: int = 0
    restarts: int = 0
    attempts: Sequence[Attempt] = ()
    seq: int = 0
    position: int | None = None

    @property
    def ended(self) -> bool:
        """True if its status will not change again (a cancelled one may still have processes)."""
        return self.status is not Status.RUNNING

    @property
    def finished(self) -> bool:
        """True if it has ended and its processes are gone: nothing of it will change again."""
        return self.phase is Phase.FINISHED


_COLUMNS = [column for column in runs.columns]


def insert_run(connection: Connection, record: RunRecord) -> RunRecord:
    """Adds the run; returns it with its `seq` and, if it waits, its position."""
    result = connection.execute(insert(runs).values(_to_row(record)))
    row_id = result.inserted_primary_key
    assert row_id is not None
    return with_position(connection, replace(record, seq=row_id[0]))


def find_run(connection: Connection, run_id: str, model: str | None = None) -> RunRecord | None:
    """The run, if there is one of this id (and, if given, of this model)."""
    query = select(*_COLUMNS).where(runs.c.id == run_id)
    if model is not None:
        query = query.where(runs.c.model == model)
    row = connection.execute(query).one_or_none()
    return None if row is None else with_position(connection, _to_record(row))


def update_run(connection: Connection, record: RunRecord, **values: Any) -> RunRecord | None:
    """Changes a run if its row is still the one that `record` was read from (`rev`), else None."""
    changed = replace(record, **values, rev=record.rev + 1, position=None)
    row = {name: value for name, value in _to_row(changed).items() if name != "seq"}
    statement = update(runs).where(runs.c.id == record.id, runs.c.rev == record.rev).values(row)
    if connection.execute(statement).rowcount != 1:
        return None
    return with_position(connection, changed)


def page_of_runs(
    connection: Connection,
    model: str | None = None,
    *,
    limit: int,
    newest_first: bool,
    beyond: int | None = None,
    status: Status | None = None,
) -> list[RunRecord]:
    """At most `limit` runs, from the one after `beyond` (a `seq`) in the direction asked for."""
    query = select(*_COLUMNS).limit(limit)
    if model is not None:
        query = query.where(runs.c.model == model)
    if status is not None:
        query = query.where(runs.c.status == status.value)
    if newest_first:
        query = query.order_by(runs.c.seq.desc())
        query = query if beyond is None else query.where(runs.c.seq < beyond)
    else:
        query = query.order_by(runs.c.seq)
        query = query if beyond is None else query.where(runs.c.seq > beyond)
    records = [_to_record(row) for row in connection.execute(query)]
    if not any(record.phase is Phase.QUEUED for record in records):
        return records
    positions = {run_id: place for place, run_id in enumerate(queue(connection), 1)}
    return [replace(record, position=positions.get(record.id)) for record in records]


def queue(connection: Connection) -> list[str]:
    """The ids of all waiting runs, the next one first."""
    query = select(runs.c.id).where(_WAITING).order_by(runs.c.seq)
    return list(connection.execute(query).scalars())


def next_waiting(connection: Connection) -> str | None:
    """The id of the run that has waited longest."""
    query = select(runs.c.id).where(_WAITING).order_by(runs.c.seq).limit(1)
    return connection.execute(query).scalar_one_or_none()


def untidied_runs(connection: Connection) -> list[RunRecord]:
    """All runs that still need somebody: not ended, or ended and not cleaned up. Oldest first."""
    query = select(*_COLUMNS).where(runs.c.tidied.is_(False)).order_by(runs.c.seq)
    return [_to_record(row) for row in connection.execute(query)]


def phases_of_untidied(connection: Connection) -> dict[Phase, int]:
    """How many of those runs are in each phase."""
    query = (
        select(runs.c.phase, func.count()).where(runs.c.tidied.is_(False)).group_by(runs.c.phase)
    )
    return {Phase(phase): count for phase, count in connection.execute(query)}


def set_tidied(connection: Connection, run_id: str) -> None:
    """Says that nothing of an ended run is left to clean up. No change that anybody waits for."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(tidied=True))


def find_resumption(connection: Connection, run_id: str) -> str | None:
    """The id of a run that goes on with this one and has not ended."""
    query = select(runs.c.id).where(
        runs.c.tidied.is_(False),
        runs.c.resumed_from == run_id,
        runs.c.status == Status.RUNNING.value,
    )
    return connection.execute(query.limit(1)).scalar_one_or_none()


def ended_beyond(connection: Connection, model: str, keep: int) -> list[str]:
    """The ids of a model's ended runs but for the newest `keep`, the oldest first."""
    query = (
        select(runs.c.id)
        .where(runs.c.model == model, runs.c.phase == Phase.FINISHED.value)
        .order_by(runs.c.seq.desc())
        .offset(keep)
    )
    return list(connection.execute(query).scalars())[::-1]


def models_with_runs(connection: Connection) -> list[str]:
    """The names of all models that have runs."""
    return list(connection.execute(select(runs.c.model).distinct()).scalars())


def delete_run(connection: Connection, run_id: str) -> None:
    """Removes the run's row, and the key that it was made with."""
    connection.execute(delete(idempotency).where(idempotency.c.run == run_id))
    connection.execute(delete(runs).where(runs.c.id == run_id))


def known_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that are recorded."""
    known: set[str] = set()
    for start in range(0, len(ids), 500):
        query = select(runs.c.id).where(runs.c.id.in_(ids[start : start + 500]))
        known.update(connection.execute(query).scalars())
    return known


def with_position(connection: Connection, record: RunRecord) -> RunRecord:
    """The record with its present place in the queue."""
    if record.phase is not Phase.QUEUED:
        return replace(record, position=None)
    query = select(func.count()).select_from(runs).where(_WAITING, runs.c.seq <= record.seq)
    return replace(record, position=connection.execute(query).scalar_one())


# `tidied` first: the index on it keeps this quick among many thousand runs that are over.
_WAITING = runs.c.tidied.is_(False) & (runs.c.phase == Phase.QUEUED.value)


def _to_row(record: RunRecord) -> dict[str, Any]:
    row = {item.name: getattr(record, item.name) for item in fields(record)}
    del row["position"]
    if not record.seq:
        del row["seq"]
    row["status"] = record.status.value
    row["phase"] = record.phase.value
    row["reason"] = None if record.reason is None else record.reason.value
    row["args"] = dict(record.args)
    row["tags"] = list(record.tags)
    row["attempts"] = [vars(attempt).copy() for attempt in record.attempts]
    row["progress"] = vars(record.progress).copy()
    row["result"] = None if record.result is None else vars(record.result).copy()
    return row


def _to_record(row: Row[Any]) -> RunRecord:
    values = dict(row._mapping)
    values["status"] = Status(values["status"])
    values["phase"] = Phase(values["phase"])
    values["reason"] = None if values["reason"] is None else Reason(values["reason"])
    values["tags"] = tuple(values["tags"])
    values["attempts"] = tuple(Attempt(**attempt) for attempt in values["attempts"])
    values["progress"] = Progress(**values["progress"])
    result = values["result"]
    values["result"] = None if result is None else Outcome(**result)
    return RunRecord(**values)
