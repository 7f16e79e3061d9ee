"""API keys: rows of the table `keys`, and the text that a caller has.

A key reads `my_<id>_<secret>`: it is looked up by its id, and then the SHA-256 of its secret is
compared. The secret has 256 random bits, so that nothing slower than a plain hash is needed. Rows
are written by the command `modelyard keys` while a server may run, which looks for changes; the
server itself writes only when a key was used. Functions take a connection and run in one
transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, or_, select, update

from ..schemas.permissions import Permission, in_order
from .tables import keys

_TEXT = re.compile(r"my_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SECRET_BYTES = 32


@dataclass(frozen=True)
class KeyRecord:
    """One key. `models` None: it is for all; `used_at` is exact to some minutes."""

    id: str
    name: str
    digest: str
    scopes: frozenset[Permission]
    models: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def opens_with(self, secret: str) -> bool:
        """Whether this is its secret; takes the same time whatever the secret is."""
        return hmac.compare_digest(_digest(secret), self.digest)


def new_key(
    name: str,
    scopes: Iterable[Permission],
    models: Iterable[str] | None,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[KeyRecord, str]:
    """A new key and its text, which cannot be made of the record again."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    of = None if models is None else frozenset(models)
    record = KeyRecord(key_id, name, _digest(secret), frozenset(scopes), of, now, expires_at)
    return record, f"my_{key_id}_{secret}"


def parse_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key's text; None if it is none."""
    match = _TEXT.fullmatch(text)
    return None if match is None else (match[1], match[2])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def insert_key_record(connection: Connection, key: KeyRecord) -> None:
    """Records a new key."""
    row = {
        **vars(key),
        "scopes": in_order(key.scopes),
        "models": None if key.models is None else sorted(key.models),
    }
    connection.execute(insert(keys).values(row))


def all_keys(connection: Connection) -> list[KeyRecord]:
    """Every key, also revoked and expired ones, oldest first."""
    columns = [column for column in keys.c if column.name != "seq"]
    rows = connection.execute(select(*columns).order_by(keys.c.seq)).mappings()
    return [
        KeyRecord(
            **{
                **row,
                "scopes": frozenset(Permission(one) for one in row["scopes"]),
                "models": None if row["models"] is None else frozenset(row["models"]),
            }
        )
        for row in rows
    ]


def revoke_keys(connection: Connection, which: str, now: datetime) -> list[str]:
    """Ends the key of this id, or all of this name. The ids of those that were not ended yet."""
    chosen = or_(keys.c.id == which, keys.c.name == which)
    query = select(keys.c.id).where(chosen, keys.c.revoked_at.is_(None)).order_by(keys.c.seq)
    ids = list(connection.scalars(query))
    connection.execute(update(keys).where(keys.c.id.in_(ids)).values(revoked_at=now))
    return ids


def forget_keys(connection: Connection, now: datetime) -> list[str]:
    """Removes the rows of revoked and expired keys; their ids."""
    ended = or_(keys.c.revoked_at.is_not(None), keys.c.expires_at <= now)
    ids = list(connection.scalars(select(keys.c.id).where(ended).order_by(keys.c.seq)))
    connection.execute(delete(keys).where(keys.c.id.in_(ids)))
    return ids


def note_use(connection: Connection, used: Mapping[str, datetime]) -> None:
    """When keys were used last, by their ids."""
    for key_id, moment in used.items():
        connection.execute(update(keys).where(keys.c.id == key_id).values(used_at=moment))


def data_version(connection: Connection) -> int:
    """A number that another one follows when another process has written to the database."""
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
