"""Aliases that divide the calls between versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("alias_moves", sa.Column("split", sa.JSON))
