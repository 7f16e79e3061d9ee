"""Rows of the table `weights`: one weights version each, whole on this disk.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from .tables import weights

TRAINED = "training"
"""Origin of versions that a training on this store made; only these become `latest`."""


@dataclass(frozen=True)
class WeightsRecord:
    """One weights version. `files` are `{"path", "size", "sha256"}`; `size` is in bytes."""

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
    seq: int = 0


def insert_weights(connection: Connection, record: WeightsRecord) -> None:
    """Adds the version; of origin `training`, it is its model's `latest` from then on."""
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
    return None if row is None else WeightsRecord(**row._mapping)


def latest_weights(connection: Connection, model: str) -> WeightsRecord | None:
    """What last became ready by a training here."""
    query = (
        select(weights)
        .where(weights.c.model == model, weights.c.origin == TRAINED)
        .order_by(weights.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else WeightsRecord(**row._mapping)


def list_weights(
    connection: Connection, model: str, limit: int | None = None
) -> list[WeightsRecord]:
    """The model's versions, newest first."""
    query = select(weights).where(weights.c.model == model).order_by(weights.c.seq.desc())
    if limit is not None:
        query = query.limit(limit)
    return [WeightsRecord(**row._mapping) for row in connection.execute(query)]
