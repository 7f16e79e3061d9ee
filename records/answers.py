"""Rows of the table `answers`: what a client's Idempotency-Key was answered.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from ..errors import IdempotencyConflict
from .idempotency import KEPT
from .tables import answers

Work = Callable[[Connection], None]


@dataclass(frozen=True)
class KeptAnswer:
    """What is known of a key. Without a `status` nothing was answered yet.

    `thing` is the id of what its request makes; `done`: it was made, in the transaction that says
    so here.
    """

    key: str
    thing: str
    done: bool = False
    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes | None = None


def begin_answer(connection: Connection, key: str, digest: str, now: datetime) -> KeptAnswer:
    """What is known of this key from the last 24 hours; a new row if that is nothing.

    Raises IdempotencyConflict if it was used with another request (`digest` differs).
    """
    connection.execute(delete(answers).where(answers.c.created_at <= now - KEPT))
    row = connection.execute(select(answers).where(answers.c.key == key)).one_or_none()
    if row is None:
        begun = KeptAnswer(key, uuid.uuid4().hex)
        new = {"key": key, "digest": digest, "thing": begun.thing, "done": False}
        connection.execute(insert(answers).values(**new, created_at=now))
        return begun
    if row.digest != digest:
        raise IdempotencyConflict(
            "This Idempotency-Key was used before with another request. Send the same request, "
            "or another key."
        )
    return KeptAnswer(key, row.thing, row.done, row.status, row.headers, row.body)


def done_with(known: KeptAnswer | None) -> Work:
    """Says, in the transaction that does it, that what the request asks for is done."""

    def work(connection: Connection) -> None:
        if known is not None:
            connection.execute(update(answers).where(answers.c.key == known.key).values(done=True))

    return work


def keep_answer(
    connection: Connection, key: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """The answer to every repeat."""
    values = {"status": status, "headers": dict(headers), "body": body}
    connection.execute(update(answers).where(answers.c.key == key).values(values))


def forget_answer(connection: Connection, key: str) -> None:
    """Nothing came of the request: the key is free again, unless something was done."""
    connection.execute(delete(answers).where(answers.c.key == key, answers.c.done.is_(False)))
