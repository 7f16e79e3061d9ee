"""What a run may take, how often it may fail, and each of its attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("max_seconds", sa.Float))
    for name in ("restart_on_failure", "restarts"):
        op.add_column("runs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("attempts", sa.JSON, nullable=False, server_default="[]"))
