"""Rows of the table `datasets`: one dataset version each, whole on this disk or in the store.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from ..errors import Conflict
from .tables import datasets, runs, weights

READY, PUBLISHING, FAILED = "ready", "publishing", "failed"

_ID = re.compile(r"[0-9a-f]{32}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})(@(?P<number>[1-9]\d{0,8}))?\Z")
_HIGHEST = 900_000_000
"""Of the numbers that another server's version may have: those after it fit into a reference."""


@dataclass(frozen=True)
class DatasetRecord:
    """One dataset version.

    `number` counts the versions of a `name` from 1; `digest` is of the content, in hex; `files` is
    how many there are, `size` their bytes. `state`: `ready`; `publishing` until the shared store
    has it; `failed` with the `reason`, it is tried again. `statistics`, `report`: JSON values.
    `used_at` is when a copy that was fetched from the store was last used; None for what came here
    first, which no cache may drop.
    """

    id: str
    name: str
    number: int
    digest: str
    created_at: datetime
    state: str = READY
    reason: str | None = None
    attempts: int = 0
    model: str | None = None
    files: int = 0
    size: int = 0
    statistics: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    source: Mapping[str, Any] | None = None
    local: bool = True
    stored: bool = False
    used_at: datetime | None = None
    principal: str = ""
    seq: int = 0


def insert_dataset(connection: Connection, record: DatasetRecord) -> DatasetRecord:
    """Adds the version; returns it as it is stored."""
    row = {item.name: getattr(record, item.name) for item in fields(record)}
    del row["seq"]
    connection.execute(insert(datasets).values(row))
    found = find_dataset(connection, record.id)
    assert found is not None
    return found


def find_dataset(connection: Connection, reference: str) -> DatasetRecord | None:
    """The version of this id, of this `name@number`, or the newest of this name.

    The newest is the one with the highest number: a clock may have been set back since, or be
    another server's. Two servers of one store may have given one number to two versions: it is the
    elder one's on all of them.
    """
    query = select(datasets)
    match = _NAME.match(reference)
    if _ID.match(reference):
        query = query.where(datasets.c.id == reference)
    elif match is None:
        return None
    elif match["number"] is None:
        query = query.where(datasets.c.name == match["name"])
        newest = (datasets.c.number, datasets.c.created_at, datasets.c.id)
        query = query.order_by(*(column.desc() for column in newest))
    else:
        query = query.where(
            datasets.c.name == match["name"], datasets.c.number == int(match["number"])
        ).order_by(datasets.c.created_at, datasets.c.id)
    return _first(connection, query)


def find_content(connection: Connection, name: str, digest: str) -> DatasetRecord | None:
    """The eldest version of this name with this content."""
    query = select(datasets).where(datasets.c.name == name, datasets.c.digest == digest)
    return _first(connection, query.order_by(datasets.c.seq))


def find_digest(connection: Connection, digest: str) -> DatasetRecord | None:
    """The eldest version of any name with this content."""
    query = select(datasets).where(datasets.c.digest == digest)
    return _first(connection, query.order_by(datasets.c.seq))


def local_relatives(connection: Connection, name: str, digest: str) -> list[str]:
    """Ids of versions on this disk that may have files in common: those with the same content,
    then the newest of the name."""
    here = select(datasets.c.id).where(datasets.c.local.is_(True))
    same = here.where(datasets.c.digest == digest).order_by(datasets.c.seq.desc()).limit(1)
    newest = here.where(datasets.c.name == name).order_by(datasets.c.seq.desc()).limit(1)
    found = [connection.execute(query).scalar_one_or_none() for query in (same, newest)]
    return list(dict.fromkeys(one for one in found if one is not None))


def next_number(connection: Connection, name: str) -> int:
    """What the next version of this name is numbered."""
    query = select(func.max(datasets.c.number)).where(datasets.c.name == name)
    return (connection.execute(query).scalar_one() or 0) + 1


def page_of_datasets(
    connection: Connection, *, limit: int, before: int | None = None, name: str | None = None
) -> list[DatasetRecord]:
    """At most `limit` versions, newest first, of those recorded before the `seq` `before`."""
    query = select(datasets).order_by(datasets.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(datasets.c.seq < before)
    if name is not None:
        query = query.where(datasets.c.name == name)
    return [_record(row) for row in connection.execute(query)]


def unstored_datasets(connection: Connection) -> list[DatasetRecord]:
    """The versions that are on this disk and not in the store, oldest first."""
    query = select(datasets).where(datasets.c.local.is_(True), datasets.c.stored.is_(False))
    return [_record(row) for row in connection.execute(query.order_by(datasets.c.seq))]


def settle_datasets(connection: Connection, state: str) -> None:
    """At a server's start: those on this disk that no store has are in `state`, with a store or
    without; those that it has are `ready`, also if they were being mended."""
    kept = datasets.c.local & ~datasets.c.stored & datasets.c.state.in_((READY, PUBLISHING))
    connection.execute(update(datasets).where(kept).values(state=state, reason=None))
    mended = datasets.c.local & datasets.c.stored & (datasets.c.state != READY)
    connection.execute(update(datasets).where(mended).values(state=READY, reason=None))


def stored_ids(connection: Connection) -> list[str]:
    """The ids of the versions that the store has, as far as is known."""
    query = select(datasets.c.id).where(datasets.c.stored).order_by(datasets.c.seq)
    return list(connection.execute(query).scalars())


def fetched_datasets(connection: Connection) -> list[tuple[str, int, datetime]]:
    """Ids, bytes and last use of the copies that were fetched from the store.

    But of those with which it is being mended: they have to stay until that is done.
    """
    columns = (datasets.c.id, datasets.c.size, datasets.c.used_at)
    here = datasets.c.local & datasets.c.stored & datasets.c.used_at.is_not(None)
    query = select(*columns).where(here, datasets.c.state != PUBLISHING)
    return [(row.id, row.size, row.used_at) for row in connection.execute(query)]


def datasets_of_active_runs(connection: Connection) -> set[str]:
    """The ids of the versions that runs which have not ended read."""
    query = select(runs.c.dataset).where(runs.c.dataset.is_not(None), runs.c.status == "running")
    return set(connection.execute(query).scalars())


def forget_store(connection: Connection) -> None:
    """The store is another one than it was: what only that one had is not known any more."""
    connection.execute(delete(datasets).where(~datasets.c.local))
    connection.execute(update(datasets).values(stored=False, used_at=None))


def local_ids(connection: Connection) -> set[str]:
    """The ids of the versions whose files are said to be on this disk."""
    query = select(datasets.c.id).where(datasets.c.local.is_(True))
    return set(connection.execute(query).scalars())


def change_dataset(connection: Connection, dataset_id: str, **values: Any) -> bool:
    """Changes columns of a version; False if it is gone."""
    statement = update(datasets).where(datasets.c.id == dataset_id).values(values)
    return connection.execute(statement).rowcount == 1


def delete_dataset(connection: Connection, dataset_id: str) -> None:
    """Forgets the version."""
    connection.execute(delete(datasets).where(datasets.c.id == dataset_id))


def upsert_from_manifest(connection: Connection, manifest: Mapping[str, Any]) -> bool:
    """Lists a version that another server published; True if it is new here.

    Its files are in the store only. One that is known is marked as stored, and nothing else of it
    changes. Raises ValueError or KeyError if the manifest is none of a dataset.
    """
    known = find_dataset(connection, str(manifest["id"]))
    if known is not None:
        if not (known.stored and known.state == PUBLISHING):  # not while it is being mended
            change_dataset(connection, known.id, stored=True, state=READY, reason=None)
        return False
    insert_dataset(connection, record_of(manifest, local=False, stored=True))
    return True


def record_of(manifest: Mapping[str, Any], *, local: bool, stored: bool) -> DatasetRecord:
    """What a dataset's manifest says. Raises ValueError or KeyError if it is none."""
    if manifest.get("kind") != "dataset" or not _ID.match(str(manifest["id"])):
        raise ValueError("this is no manifest of a dataset")
    match = _NAME.match(str(manifest["name"]))
    if match is None or match["number"] is not None:
        raise ValueError(f"{str(manifest['name'])[:200]!r} is no name of a dataset")
    number = int(manifest.get("number") or 1)
    if not 1 <= number <= _HIGHEST:  # the next one of its name has to have a number too
        raise ValueError(f"{number} is no number of a version")
    for member in ("statistics", "report", "source"):  # lists of datasets tell of them
        if not isinstance(manifest.get(member), Mapping | None):
            raise ValueError(f"its {member} is no object")
    if not isinstance(manifest.get("model"), str | None):
        raise ValueError("its model is no text")
    digest = str(manifest["digest"])
    if not _DIGEST.match(digest):
        raise ValueError(f"{digest[:100]!r} is no digest of a dataset")
    created = datetime.fromisoformat(str(manifest["created_at"]))
    return DatasetRecord(
        id=str(manifest["id"]),
        name=match["name"],
        number=number,
        digest=digest,
        created_at=created if created.tzinfo is not None else created.replace(tzinfo=UTC),
        model=manifest.get("model"),
        files=len(manifest["files"]),
        size=sum(int(item["size"]) for item in manifest["files"]),
        statistics=manifest.get("statistics"),
        report=manifest.get("report"),
        source=manifest.get("source"),
        local=local,
        stored=stored,
    )


# -- what refers to a dataset ----------------------------------------------------------------------


@dataclass(frozen=True)
class References:
    """What needs a dataset version: runs that are not over, ended runs, weights versions. Ids."""

    active_runs: Sequence[str] = ()
    ended_runs: Sequence[str] = ()
    weights: Sequence[str] = ()


def references_to(connection: Connection, dataset_id: str) -> References:
    """All that names this version."""
    query = select(runs.c.id, runs.c.status).where(runs.c.dataset == dataset_id)
    found = connection.execute(query.order_by(runs.c.seq)).all()
    versions = select(weights.c.id).where(weights.c.dataset == dataset_id)
    return References(
        active_runs=[row.id for row in found if row.status == "running"],
        ended_runs=[row.id for row in found if row.status in ("error", "cancelled")],
        weights=list(connection.execute(versions.order_by(weights.c.seq)).scalars()),
    )


def require_dataset(connection: Connection, dataset_id: str) -> None:
    """For the transaction that records a run with this dataset: raises Conflict if it has been
    deleted meanwhile."""
    query = select(datasets.c.id).where(datasets.c.id == dataset_id)
    if connection.execute(query).scalar_one_or_none() is None:
        raise Conflict(f"The dataset {dataset_id} was deleted meanwhile.")


def set_run_dataset(connection: Connection, run_id: str, dataset_id: str) -> None:
    """Says which dataset a run's upload has become, also of the weights that the run has made.

    The row's `rev` grows: whoever changes the run at this moment reads it again.
    """
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.dataset.is_(None))
        .values(dataset=dataset_id, rev=runs.c.rev + 1)
    )
    connection.execute(
        update(weights)
        .where(weights.c.run == run_id, weights.c.dataset.is_(None))
        .values(dataset=dataset_id)
    )


def _first(connection: Connection, query: Select[Any]) -> DatasetRecord | None:
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Any) -> DatasetRecord:
    return DatasetRecord(**row._mapping)
