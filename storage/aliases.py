"""Names of weights versions: which there are, moving them, and going back. Runs in the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from ..errors import Conflict, InvalidArguments, NotFound, WeightsNotFound
from ..records.aliases import (
    LATEST,
    AliasMove,
    current_aliases,
    earlier_move,
    move_alias,
    moves_of,
    newest_move,
)
from ..records.splits import Split
from ..records.store import RecordStore
from ..records.weights import find_weights, known_weights
from .versions import VERSION_ID

ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}\Z")
RESERVED = frozenset(
    {"aliases", "archive", "card", "exports", "fetch", "lineage", "link", "retry", "rollback"}
)
"""The words of the addresses of versions, which aliases stand among (a test compares)."""


@dataclass(frozen=True)
class Alias:
    """A name and the version that it names. `previous` is what a rollback would go back to.

    `stored` says that the shared store knows of it (True where there is none to tell). With a
    `split` it names other versions, too.
    """

    name: str
    version: str
    moved_at: datetime
    principal: str
    previous: str | None = None
    stored: bool = True
    split: Split | None = None


@dataclass(frozen=True)
class Target:
    """What an alias is to name: `shares` are versions (ids, or other aliases of them) with their
    weights; see `Split`."""

    shares: Sequence[tuple[str, float]]
    shadow: str | None = None
    shadow_share: float = 1.0


class Aliases:
    """The aliases of every model of this home; `server` is the home's id, `going` are the versions
    that are being deleted (`WeightsVersions.going`)."""

    def __init__(
        self, store: RecordStore, server: str, shared: bool, going: Mapping[str, int]
    ) -> None:
        self._store = store
        self._going = going
        self._server = server
        self._shared = shared

    async def list(self, model: str) -> list[Alias]:
        """Every alias that names a version, `latest` first."""

        def work(connection: Connection) -> list[Alias]:
            moves = current_aliases(connection, model)
            return [self._alias(connection, move) for move in moves.values()]

        return await self._store.read(work)

    async def naming(self, model: str, version: str) -> Sequence[str]:
        """The aliases set by hand that name a version, also beside others."""
        return await self._store.read(lambda c: named_by(c, model, version))

    async def move(
        self, model: str, alias: str, target: str | Target, principal: str = ""
    ) -> Alias:
        """Has the alias name a version (an id, or another alias of it) from now on, or divide the
        calls between several.

        Raises InvalidArguments for `latest`, for what is no name and for a version that is named
        twice, and WeightsNotFound, also for one that is being deleted.
        """
        _check_new(alias)
        to = target if isinstance(target, Target) else Target([(target, 1.0)])

        def work(connection: Connection) -> Alias:
            aliases = current_aliases(connection, model)

            def found(name: str) -> str:
                other = aliases.get(name)
                version_id = name if other is None else other.version
                if version_id is None or find_weights(connection, version_id, model) is None:
                    raise WeightsNotFound(f"The model {model} has no weights version {name!r}.")
                self._check_stays(version_id)
                return version_id

            shares = tuple((found(name), weight) for name, weight in to.shares)
            shadow = None if to.shadow is None else found(to.shadow)
            split = None
            if len(shares) > 1 or shadow is not None:
                split = Split(shares, shadow, to.shadow_share)
                _check_split(split)
            version_id = shares[0][0]
            present = newest_move(connection, model, alias)
            if present is None or (present.version, present.split) != (version_id, split):
                present = self._append(connection, model, alias, version_id, principal, split)
            return self._alias(connection, present)

        return await self._store.write(work)

    async def remove(self, model: str, alias: str, principal: str = "") -> None:
        """Has the alias name nothing any more. Raises InvalidArguments for `latest`, NotFound."""
        _check_name(alias)

        def work(connection: Connection) -> None:
            if alias not in current_aliases(connection, model):
                raise NotFound(f"The model {model} has no alias {alias!r}.")
            self._append(connection, model, alias, None, principal)

        await self._store.write(work)

    async def rollback(
        self,
        model: str,
        alias: str,
        principal: str = "",
        also: Callable[[Connection], None] | None = None,
    ) -> Alias:
        """Has the alias name again what it named before; twice: what it named before that.

        `also` is done in the same transaction. Raises InvalidArguments as `move`, NotFound for an
        alias that never was, Conflict if there is nothing to go back to, and WeightsNotFound if
        that is being deleted.
        """
        _check_new(alias)

        def work(connection: Connection) -> Alias:
            moves = moves_of(connection, model, alias)
            if not moves:
                raise NotFound(f"The model {model} has no alias {alias!r}.")
            before = _before(connection, moves)
            if before is None:
                raise Conflict(
                    f"There is nothing to roll {alias!r} back to: it named no other version "
                    "that still exists."
                )
            for version in before.versions:
                self._check_stays(version)
            to = (before.version, principal, before.split)
            if also is not None:
                also(connection)
            return self._alias(connection, self._append(connection, model, alias, *to))

        return await self._store.write(work)

    def _check_stays(self, version: str) -> None:
        if self._going.get(version):
            raise WeightsNotFound(f"The version {version} is being deleted.")

    def _append(
        self,
        connection: Connection,
        model: str,
        alias: str,
        version: str | None,
        principal: str,
        split: Split | None = None,
    ) -> AliasMove:
        now = datetime.now(UTC)
        move = AliasMove(model, alias, version, 0, self._server, now, False, principal, split)
        return move_alias(connection, move)

    def _alias(self, connection: Connection, move: AliasMove) -> Alias:
        assert move.version is not None
        previous = None
        if move.alias != LATEST:
            before = _before(connection, moves_of(connection, move.model, move.alias))
            previous = None if before is None else before.version
        return Alias(
            move.alias,
            move.version,
            move.moved_at,
            move.principal,
            previous,
            move.stored or not self._shared,
            move.split,
        )


def _before(connection: Connection, moves: Sequence[AliasMove]) -> AliasMove | None:
    ids = [version for move in moves for version in move.versions]
    return earlier_move(moves, known_weights(connection, ids))


def named_by(connection: Connection, model: str, version: str) -> Sequence[str]:
    """See `Aliases.naming`."""
    moves = current_aliases(connection, model)
    return [name for name, move in moves.items() if name != LATEST and version in move.versions]


def naming_in_words(names: Sequence[str]) -> str:
    """Why a version that these aliases name cannot be deleted."""
    if len(names) == 1:
        return f"the alias {names[0]} names it"
    return f"the aliases {', '.join(names)} name it"


def kept_by_aliases(connection: Connection, model: str) -> set[str]:
    """The versions that aliases name, and those that aliases set by hand can be rolled back to."""
    kept: set[str] = set()
    for alias, move in current_aliases(connection, model).items():
        kept.update(move.versions)
        if alias != LATEST:
            previous = _before(connection, moves_of(connection, model, alias))
            kept.update(() if previous is None else previous.versions)
    return kept


def _check_split(split: Split) -> None:
    named = [version for version, _ in split.shares]
    if len(set(named)) < len(named):
        raise InvalidArguments({"versions": ["A version is named twice: give it one weight."]})
    if split.shadow in named:
        raise InvalidArguments({"shadow": ["This version answers already: name another one."]})


def may_be_named(alias: str) -> bool:
    """False for what no server calls an alias: with the id of a version it would hide that one."""
    return ALIAS.match(alias) is not None and VERSION_ID.match(alias) is None


def _check_new(alias: str) -> None:
    """What is refused as a name. An alias that an earlier release let be called so can be removed:
    it would protect its version for ever else."""
    _check_name(alias)
    if VERSION_ID.match(alias):
        raise InvalidArguments({"alias": ["This is the id of a version: give another name."]})
    if alias.lower() in RESERVED:
        told = f"`{alias}` is a word of the addresses of versions: give another name, such as "
        raise InvalidArguments({"alias": [told + "`staging`."]})


def _check_name(alias: str) -> None:
    if alias == LATEST:
        raise InvalidArguments(
            {"alias": ["`latest` moves by itself, to what a training made. Set `production`."]}
        )
    if not ALIAS.match(alias):
        told = "Not a name: give a letter, then up to 99 letters, digits, `.`, `_` and `-`."
        raise InvalidArguments({"alias": [told]})
