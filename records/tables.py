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
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
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
    Index("runs_by_model", "model", "seq"),
    Index("runs_by_tidied", "tidied", "seq"),
    sqlite_autoincrement=True,
)
"""One row a run. `epoch` counts launches and fences old supervisors out; `rev` grows with each
change; `tidied` says that its processes are gone and its secrets and uploads removed."""

weights = Table(
    "weights",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(100), nullable=False),
    Column("run", String(32), ForeignKey("runs.id")),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("step", BigInteger),
    Column("checkpoint", String(16)),
    Column("metrics", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("weights_by_model", "model", "seq"),
    sqlite_autoincrement=True,
)
"""One row a weights version that is whole on this disk. `latest` of a model is its row of origin
`training` with the highest `seq`."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("run", String(32), ForeignKey("runs.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("idempotency_by_age", "created_at"),
)
"""Which run a client's Idempotency-Key made. Key, principal and route are kept as one SHA-256, and
the request as a digest keyed with the client's key: neither can be read back."""
