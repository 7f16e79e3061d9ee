"""Rows of the table `weights`: one weights version each, on this disk or in the shared store.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from .tables import weights

TRAINED = "training"
"""Origin of versions that a training made; only these become `latest` by themselves."""


@dataclass(frozen=True)
class WeightsRecord:
    """One weights version. `files` are `{"path", "size", "sha256"}`; `size` is in bytes.

    `used_at` is when a copy that was fetched from the store was last used; it is None for what was
    made here, which no cache may drop. `loaded_at` is when workers of this home last took it up as
    what predictions use.
    """

    id: str
    model: str
    created_at: datetime
    run: str | None = None
    origin: str = TRAINED
    state: str = "ready"
    step: int | None = None
    checkpoint: str | None = None
    metrics: Mapping[str, Any] | None = None
    files: Sequence[Mapping[str, Any]] = ()
    size: int = 0
    reason: str | None = None
    attempts: int = 0
    parent: str | None = None
    dataset: str | None = None
    tags: Sequence[str] = ()
    notes: str | None = None
    labels_counter: int = 0
    labels_stored: bool = False
    local: bool = True
    stored: bool = False
    used_at: datetime | None = None
    loaded_at: datetime | None = None
    seq: int = 0


def insert_weights(connection: Connection, record: WeightsRecord) -> None:
    """Adds the version."""
    row = {item.name: getattr(record, item.name) for item in fields(record)}
    del row["seq"]
    row["metrics"] = dict(record.metrics or {})
    row["files"] = [dict(item) for item in record.files]
    row["tags"] = list(record.tags)
    connection.execute(insert(weights).values(row))


def find_weights(
    connection: Connection, version_id: str, model: str | None = None
) -> WeightsRecord | None:
    """The version, if there is one of this id (and, if given, of this model)."""
    query = select(weights).where(weights.c.id == version_id)
    if model is not None:
        query = query.where(weights.c.model == model)
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


def update_weights(connection: Connection, version_id: str, **values: Any) -> bool:
    """Changes columns of a version; False if it is not there any more."""
    statement = update(weights).where(weights.c.id == version_id).values(**values)
    return connection.execute(statement).rowcount == 1


def delete_weights(connection: Connection, version_id: str) -> bool:
    """Forgets the version; False if it was not there. Moves of aliases to it stay."""
    return connection.execute(delete(weights).where(weights.c.id == version_id)).rowcount == 1


def page_of_weights(
    connection: Connection,
    model: str,
    limit: int | None = None,
    beyond: int | None = None,
    tag: str | None = None,
    state: str | None = None,
) -> list[WeightsRecord]:
    """The model's versions, newest first, from the one after `beyond` (a `seq`) on.

    Without their `files`: of a thousand versions these may be a million.
    """
    query = select(*_IN_LISTS).where(weights.c.model == model).order_by(weights.c.seq.desc())
    if beyond is not None:
        query = query.where(weights.c.seq < beyond)
    if state is not None:
        query = query.where(weights.c.state == state)
    if tag is not None:
        each = func.json_each(weights.c.tags).table_valued("value")
        query = query.where(select(each.c.value).where(each.c.value == tag).exists())
    if limit is not None:
        query = query.limit(limit)
    names = [column.name for column in _IN_LISTS]
    return [
        WeightsRecord(**dict(zip(names, row, strict=True))) for row in connection.execute(query)
    ]


def last_loaded(connection: Connection, model: str, limit: int) -> list[WeightsRecord]:
    """The versions that predictions used by default here, the last one first."""
    query = select(weights).where(weights.c.model == model, weights.c.loaded_at.is_not(None))
    query = query.order_by(weights.c.loaded_at.desc(), weights.c.seq.desc()).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def unstored_weights(connection: Connection) -> list[WeightsRecord]:
    """Versions whose only copy is on this disk, oldest first."""
    query = select(weights).where(weights.c.local, ~weights.c.stored).order_by(weights.c.seq)
    return [_record(row) for row in connection.execute(query)]


def settle_weights(connection: Connection, state: str) -> None:
    """At a start: what is on this disk alone is in `state`, whatever it was before; what the store
    has is `ready`, also if it was being mended: whoever asked for that asks again."""
    alone = weights.c.local & ~weights.c.stored & (weights.c.state != state)
    connection.execute(update(weights).where(alone).values(state=state, reason=None))
    kept = weights.c.stored & (weights.c.state != "ready")
    connection.execute(update(weights).where(kept).values(state="ready", reason=None))


def fetched_weights(connection: Connection) -> list[tuple[str, str, int, datetime]]:
    """Models, ids, bytes and last use of the copies that were fetched from the store.

    But of those with which it is being mended: they have to stay until that is done.
    """
    columns = (weights.c.model, weights.c.id, weights.c.size, weights.c.used_at)
    fetched = weights.c.local & weights.c.stored & weights.c.used_at.is_not(None)
    query = select(*columns).where(fetched, weights.c.state != "publishing")
    return [(row.model, row.id, row.size, row.used_at) for row in connection.execute(query)]


def absent_weights(connection: Connection) -> set[str]:
    """The ids of versions whose files are only in the store."""
    return set(connection.execute(select(weights.c.id).where(~weights.c.local)).scalars())


def stored_weights(connection: Connection) -> list[tuple[str, str]]:
    """Models and ids of all versions that the store has, as far as is known."""
    query = select(weights.c.model, weights.c.id).where(weights.c.stored).order_by(weights.c.seq)
    return [(row.model, row.id) for row in connection.execute(query)]


def unstored_labels(connection: Connection) -> list[WeightsRecord]:
    """Stored versions whose tags and notes are not what the store has of them."""
    query = select(weights).where(
        weights.c.stored, weights.c.labels_counter > 0, ~weights.c.labels_stored
    )
    return [_record(row) for row in connection.execute(query)]


def known_weights(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that are recorded."""
    known: set[str] = set()
    for start in range(0, len(ids), 500):
        query = select(weights.c.id).where(weights.c.id.in_(ids[start : start + 500]))
        known.update(connection.execute(query).scalars())
    return known


def models_with_weights(connection: Connection) -> list[str]:
    """The models that have any version."""
    return list(connection.execute(select(weights.c.model).distinct()).scalars())


def forget_store(connection: Connection) -> None:
    """The store is another one now: what it had and this disk has not is gone from here."""
    connection.execute(delete(weights).where(~weights.c.local))
    connection.execute(
        update(weights).values(stored=False, labels_stored=False, attempts=0, used_at=None)
    )


_IN_LISTS = [column for column in weights.columns if column is not weights.c.files]


def _record(row: Row[Any]) -> WeightsRecord:
    return WeightsRecord(**row._mapping)
