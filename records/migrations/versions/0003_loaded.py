"""When a version was last taken up as what predictions use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("weights", sa.Column("loaded_at", sa.DateTime))
