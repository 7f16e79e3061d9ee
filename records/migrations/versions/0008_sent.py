"""What a training's Idempotency-Key came with, as it was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("idempotency", sa.Column("sent", sa.String(64)))
