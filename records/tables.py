"""The tables of the record store. `migrations/` builds exactly these; a test compares the two.

Times are aware UTC datetimes in Python and naive UTC in the database. Nothing is ordered by a
clock: `seq` grows with each row, whatever the clock does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
    true,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as naive UTC. Raises ValueError when given a naive one."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be recorded")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


# SQLite gives the next number by itself only to a column declared INTEGER, not BIGINT.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(100), nullable=False),
    Column("status", String(16), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Text),
    Column("args", JSON, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("weights", String(32)),
    Column("date", String(26), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("epoch", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("tidied", Boolean, nullable=False),
    Column("principal", String(255), nullable=False),
    Column("name", String(255)),
    Column("tags", JSON, nullable=False),
    Column("dataset", String(32)),
    Column("resumed_from", String(32)),
    Column("repeats", String(32)),
    Column("max_seconds", Float),
    Column("restart_on_failure", Integer, nullable=False, server_default="0"),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("attempts", JSON, nullable=False, server_default="[]"),
    Index("runs_by_model", "model", "seq"),
    Index("runs_by_tidied", "tidied", "seq"),
    sqlite_autoincrement=True,
)
"""One row a run. `epoch` counts launches and fences old supervisors out; `rev` grows with each
change; `tidied` says that its processes are gone and its secrets and uploads removed. `dataset` is
the stored dataset that it reads, `resumed_from` the ended run that it goes on from, `repeats` the
weights version whose training it repeats. It is begun again after a failure `restart_on_failure`
times at most, and has been `restarts` times; `attempts` tells of each time that it was begun."""

weights = Table(
    "weights",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(100), nullable=False),
    Column("run", String(32)),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("step", BigInteger),
    Column("checkpoint", String(16)),
    Column("metrics", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("parent", String(32)),
    Column("dataset", String(32)),
    Column("tags", JSON, nullable=False, server_default="[]"),
    Column("notes", Text),
    Column("labels_counter", BigInteger, nullable=False, server_default=text("0")),
    Column("labels_stored", Boolean, nullable=False, server_default=false()),
    Column("local", Boolean, nullable=False, server_default=true()),
    Column("stored", Boolean, nullable=False, server_default=false()),
    Column("used_at", UtcDateTime),
    Column("loaded_at", UtcDateTime),
    Index("weights_by_model", "model", "seq"),
    Index("weights_by_state", "state", "seq"),
    Index("weights_by_dataset", "dataset"),
    sqlite_autoincrement=True,
)
"""One row a weights version. `run` may be a run of another server. `local`: its files are on this
disk; `stored`: its manifest is in the shared store; one of the two holds. `attempts` counts what
was tried to publish it, `reason` says why the last one failed. Tags and notes are the entry
`labels_counter` of their register in the store, once `labels_stored`. `loaded_at`: when workers of
this home last took it up as what predictions use."""

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("model", String(100), nullable=False),
    Column("alias", String(100), nullable=False),
    Column("version", String(32)),
    Column("counter", BigInteger, nullable=False),
    Column("server", String(32), nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Column("principal", String(255), nullable=False),
    Column("split", JSON(none_as_null=True)),
    UniqueConstraint("model", "alias", "counter", "server"),
    sqlite_autoincrement=True,
)
"""One row a move of an alias, never changed: the alias names the version of the row with the
highest (`counter`, `server`); no version: it was removed. `stored`: the move is in the shared
store, too. `split`: what else it names (`splits.py`)."""

datasets = Table(
    "datasets",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("model", String(100)),
    Column("files", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("statistics", JSON(none_as_null=True)),
    Column("report", JSON(none_as_null=True)),
    Column("source", JSON(none_as_null=True)),
    Column("local", Boolean, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("used_at", UtcDateTime),
    Column("principal", String(255), nullable=False),
    Index("datasets_by_name", "name", "seq"),
    Index("datasets_by_digest", "digest"),
    Index("datasets_by_state", "state", "seq"),
    sqlite_autoincrement=True,
)
"""One row a dataset version. `number` counts the versions of a `name`; `digest` is of its content,
whatever it was packed in; `statistics` and `report` are what the reader of `model` says of it;
`source` tells where it came from. `local` and `stored` as of weights."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("sent", String(64)),
    Column("run", String(32), ForeignKey("runs.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("idempotency_by_age", "created_at"),
)
"""Which run a client's Idempotency-Key made. Key, principal and route are kept as one SHA-256, and
the request as digests keyed with the client's key: none can be read back. `digest` is of what it
means, `sent` of how it was sent, by which the same bytes are known when their meaning is gone."""

answers = Table(
    "answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("thing", String(32), nullable=False),
    Column("done", Boolean, nullable=False),
    Column("status", Integer),
    Column("headers", JSON(none_as_null=True)),
    Column("body", LargeBinary),
    Column("created_at", UtcDateTime, nullable=False),
    Index("answers_by_age", "created_at"),
)
"""What requests with an Idempotency-Key were answered, those that start a training apart. `key` and
`digest` as above. `thing` is the id for what the request makes, chosen before it is made; `done`
says that it was committed, `status` that it was answered: a request without is under way, or was
cut off by the end of the server."""

keys = Table(
    "keys",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(12), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON(none_as_null=True)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
    sqlite_autoincrement=True,
)
"""One row an API key (`keys.py`). `digest` is the SHA-256 of its secret, which is kept nowhere;
`models` are those that it is for, null for all. `used_at` is exact to some minutes."""
