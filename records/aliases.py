"""Rows of the table `alias_moves`: what names a model's weights versions had, and have now.

A move is never taken back, another one follows it; the highest (counter, server) holds, on every
server that shares a store. Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.sqlite import insert

from .splits import Split
from .tables import alias_moves, weights
from .weights import TRAINED

LATEST = "latest"
"""The alias that moves by itself, to what a training made."""


@dataclass(frozen=True)
class AliasMove:
    """One move: `alias` names `version` from then on (None: it was removed), and the others of
    its `split`, if it has one.

    `counter` grows with each move of this alias, on whatever server (`server` is that one's id).
    """

    model: str
    alias: str
    version: str | None
    counter: int
    server: str
    moved_at: datetime
    stored: bool = False
    principal: str = ""
    split: Split | None = None
    seq: int = 0

    @property
    def versions(self) -> tuple[str, ...]:
        """All that it names, its own version first."""
        if self.version is None:
            return ()
        return (self.version,) if self.split is None else self.split.versions


def move_alias(connection: Connection, move: AliasMove) -> AliasMove:
    """Adds a move made here, with the counter after the highest that is known."""
    query = select(func.max(alias_moves.c.counter)).where(_of(move.model, move.alias))
    highest = connection.execute(query).scalar() or 0
    move = replace(move, counter=highest + 1)
    insert_move(connection, move)
    return move


def insert_move(connection: Connection, move: AliasMove) -> None:
    """Adds a move as it is; nothing changes if it is known."""
    row = {item.name: getattr(move, item.name) for item in fields(move)}
    del row["seq"]
    row["split"] = None if move.split is None else move.split.to_data()
    connection.execute(insert(alias_moves).values(row).on_conflict_do_nothing())


def current_aliases(connection: Connection, model: str) -> dict[str, AliasMove]:
    """The move that holds of each alias, `latest` first; without those that name nothing.

    An alias of a version that is not here (deleted, or not heard of yet) names nothing; `latest`
    then falls back to the version that had it before.
    """
    names = select(alias_moves.c.alias).where(alias_moves.c.model == model).distinct()
    found: dict[str, AliasMove] = {}
    latest = _latest(connection, model)
    if latest is not None:
        found[LATEST] = latest
    for alias in sorted(connection.execute(names).scalars()):
        if alias != LATEST:
            move = newest_move(connection, model, alias)
            if move is not None and move.version is not None:
                exists = select(weights.c.id).where(_version(model, move.version))
                if connection.execute(exists).one_or_none() is not None:
                    found[alias] = move
    return found


def newest_move(connection: Connection, model: str, alias: str) -> AliasMove | None:
    """The move that holds, whatever it names."""
    query = select(alias_moves).where(_of(model, alias)).order_by(*_newest_first()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _move(row)


def moves_of(connection: Connection, model: str, alias: str) -> list[AliasMove]:
    """All moves of an alias in their order."""
    query = (
        select(alias_moves)
        .where(_of(model, alias))
        .order_by(alias_moves.c.counter, alias_moves.c.server)
    )
    return [_move(row) for row in connection.execute(query)]


def earlier_move(moves: Sequence[AliasMove], existing: set[str]) -> AliasMove | None:
    """The move to what an alias named before what it names now; None if nothing of that exists.

    A move back to what it named before counts as having undone the one between: rolled back twice
    an alias is where it was two moves ago, and not where it started. One that was removed names
    again what it named last.
    """
    stack: list[AliasMove] = []
    for move in moves:
        if not move.version or not existing.issuperset(move.versions):
            continue
        if len(stack) > 1 and _same(stack[-2], move):
            stack.pop()
        elif not stack or not _same(stack[-1], move):
            stack.append(move)
    names_one = bool(moves) and bool(moves[-1].version) and existing.issuperset(moves[-1].versions)
    before = stack[:-1] if names_one else stack
    return before[-1] if before else None


def _same(one: AliasMove, other: AliasMove) -> bool:
    return (one.version, one.split) == (other.version, other.split)


def unstored_moves(connection: Connection) -> list[AliasMove]:
    """Moves made here that the store does not have, in their order; of each alias only the last.

    A move to versions that are not all in the store yet waits for them.
    """
    query = select(alias_moves).where(~alias_moves.c.stored).order_by(alias_moves.c.seq)
    last = {(row.model, row.alias): _move(row) for row in connection.execute(query)}
    ids = [version for move in last.values() for version in move.versions]
    stored: set[str] = set()
    for start in range(0, len(ids), 500):
        known = select(weights.c.id).where(
            weights.c.id.in_(ids[start : start + 500]), weights.c.stored
        )
        stored.update(connection.execute(known).scalars())
    return [move for move in last.values() if stored.issuperset(move.versions)]


def set_stored(connection: Connection, move: AliasMove, counter: int) -> None:
    """The store has the move, as the entry `counter`; those before it are of no interest there.

    Somebody else may have had its counter: what was moved here since then stays behind it.
    """
    same = _of(move.model, move.alias)
    later = (
        select(alias_moves.c.seq, alias_moves.c.counter)
        .where(same, alias_moves.c.seq > move.seq, ~alias_moves.c.stored)
        .order_by(alias_moves.c.counter.desc())
    )
    for row in list(connection.execute(later)):
        _set(connection, row.seq, counter=row.counter + counter - move.counter)
    connection.execute(
        update(alias_moves).where(same, alias_moves.c.seq < move.seq).values(stored=True)
    )
    _set(connection, move.seq, stored=True, counter=counter)


def _set(connection: Connection, seq: int, **values: Any) -> None:
    connection.execute(update(alias_moves).where(alias_moves.c.seq == seq).values(**values))


def forget_stored(connection: Connection) -> None:
    """The store is another one now: what holds has to be told to it."""
    connection.execute(update(alias_moves).values(stored=False))


def _latest(connection: Connection, model: str) -> AliasMove | None:
    query = (
        select(alias_moves)
        .join(weights, (weights.c.id == alias_moves.c.version) & (weights.c.model == model))
        .where(_of(model, LATEST))
        .order_by(*_newest_first())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return _last_trained(connection, model) if row is None else _move(row)


def _last_trained(connection: Connection, model: str) -> AliasMove | None:
    # The server that made it died before it had told the store of the alias, or has not yet.
    query = (
        select(weights.c.id, weights.c.created_at)
        .where(weights.c.model == model, weights.c.origin == TRAINED)
        .order_by(weights.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return AliasMove(model, LATEST, row.id, 0, "", row.created_at, stored=True)


def _of(model: str, alias: str) -> Any:
    return (alias_moves.c.model == model) & (alias_moves.c.alias == alias)


def _version(model: str, version_id: str) -> Any:
    return (weights.c.id == version_id) & (weights.c.model == model)


def _newest_first() -> tuple[Any, Any]:
    return alias_moves.c.counter.desc(), alias_moves.c.server.desc()


def _move(row: Row[Any]) -> AliasMove:
    values = dict(row._mapping)
    split = values.pop("split")
    return AliasMove(**values, split=None if split is None else Split.from_data(split))
