"""Rows of the table `idempotency`: which run a client's Idempotency-Key made.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from ..errors import IdempotencyConflict
from .tables import idempotency

KEPT = timedelta(hours=24)


def find_key(connection: Connection, key: str, digest: str, now: datetime) -> str | None:
    """The id of the run that this key made in the last 24 hours, or None.

    Raises IdempotencyConflict if it was used with another request (`digest` differs).
    """
    query = select(idempotency.c.digest, idempotency.c.run).where(
        idempotency.c.key == key, idempotency.c.created_at > now - KEPT
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.digest != digest:
        raise IdempotencyConflict(
            "This Idempotency-Key was used before with another request. Send the same request, "
            "or another key.",
            run=row.run,
        )
    return str(row.run)


def find_sent(connection: Connection, key: str, sent: str, now: datetime) -> str | None:
    """The id of the run that this key made in the last 24 hours of a request sent just so."""
    query = select(idempotency.c.run).where(
        idempotency.c.key == key,
        idempotency.c.sent == sent,
        idempotency.c.created_at > now - KEPT,
    )
    return connection.execute(query).scalar_one_or_none()


def insert_key(
    connection: Connection, key: str, digest: str, sent: str, run: str, now: datetime
) -> None:
    """Records the key, in the same transaction as the run; forgets keys older than 24 hours."""
    connection.execute(delete(idempotency).where(idempotency.c.created_at <= now - KEPT))
    row = {"key": key, "digest": digest, "sent": sent, "run": run, "created_at": now}
    connection.execute(insert(idempotency).values(row))
