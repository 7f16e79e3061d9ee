"""The steps from each database revision to the next (alembic)."""
