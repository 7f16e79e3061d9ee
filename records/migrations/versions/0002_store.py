"""Datasets, aliases, and versions that a shared store has.

Spelled out rather than made from `tables.py`, as every step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_KEPT = "seq, id, model, run, origin, state, created_at, step, checkpoint, metrics, files, size"


def upgrade() -> None:
    for name in ("dataset", "resumed_from", "repeats"):
        op.add_column("runs", sa.Column(name, sa.String(32)))
    _weights()
    op.create_table(
        "alias_moves",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("version", sa.String(32)),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("server", sa.String(32), nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("moved_at", sa.DateTime, nullable=False),
        sa.Column("principal", sa.String(255), nullable=False),
        sa.UniqueConstraint("model", "alias", "counter", "server"),
        sqlite_autoincrement=True,
    )
    # What was `latest` until now, by the rule of that release: the newest of each model.
    op.execute(
        "INSERT INTO alias_moves (model, alias, version, counter, server, stored, moved_at,"
        " principal) SELECT model, 'latest', id, 1, '', false, created_at, '' FROM weights"
        " WHERE seq IN (SELECT max(seq) FROM weights WHERE origin = 'training' GROUP BY model)"
    )
    _datasets()


def _weights() -> None:
    # A table of its own, filled from the old one: SQLite cannot drop a foreign key otherwise, and
    # `run` may now be one of another server.
    op.create_table(
        "weights_new",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("run", sa.String(32)),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("checkpoint", sa.String(16)),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("parent", sa.String(32)),
        sa.Column("dataset", sa.String(32)),
        sa.Column("tags", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("notes", sa.Text),
        sa.Column("labels_counter", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("labels_stored", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("local", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("stored", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("used_at", sa.DateTime),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO weights_new ({_KEPT}) SELECT {_KEPT} FROM weights")
    op.drop_table("weights")
    op.rename_table("weights_new", "weights")
    op.create_index("weights_by_model", "weights", ["model", "seq"])
    op.create_index("weights_by_state", "weights", ["state", "seq"])
    op.create_index("weights_by_dataset", "weights", ["dataset"])


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("model", sa.String(100)),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("statistics", sa.JSON),
        sa.Column("report", sa.JSON),
        sa.Column("source", sa.JSON),
        sa.Column("local", sa.Boolean, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("used_at", sa.DateTime),
        sa.Column("principal", sa.String(255), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("datasets_by_name", "datasets", ["name", "seq"])
    op.create_index("datasets_by_digest", "datasets", ["digest"])
    op.create_index("datasets_by_state", "datasets", ["state", "seq"])
