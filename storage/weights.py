"""The weights versions of a home: which there are, where they lie, and what names they have.

Runs in the server. The folder makes a version real, the record makes it known: the record comes
second, so a version that is listed is whole, here or in the shared store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ..errors import WeightsNotFound
from ..records.aliases import LATEST, AliasMove, current_aliases, move_alias
from ..records.paging import cursor_after, seq_of
from ..records.splits import Split
from ..records.store import RecordStore
from ..records.weights import (
    TRAINED,
    WeightsRecord,
    absent_weights,
    delete_weights,
    find_weights,
    insert_weights,
    last_loaded,
    page_of_weights,
    update_weights,
)
from ..turns import Turns
from .exports import remove_unfinished_exports
from .versions import (
    GONE,
    VERSION_ID,
    Manifest,
    bring_back,
    install_version,
    is_whole,
    put_away,
    put_away_before,
    read_manifest,
    remove_away,
    remove_unfinished,
)

PRODUCTION = "production"
"""The alias, set by hand, that predictions use by default; without it they use `latest`."""

READY, PUBLISHING, FAILED = "ready", "publishing", "failed"
"""States: all can be predicted with; only a `ready` one is where it is meant to be kept. One that
is `stored` and not `ready` is being mended in the store, or could not be."""


@dataclass(frozen=True)
class WeightsVersion:
    """One version: what is recorded of it, and the folder whose content a plugin loads.

    `files` are `{"path", "size", "sha256"}`; `size` is in bytes. The folder is there if `local`;
    else the files are in the shared store, which has them if `stored`. `fetched` is a copy of
    what was made elsewhere.
    """

    id: str
    model: str
    run: str | None
    created_at: datetime
    state: str
    step: int | None
    checkpoint: str | None
    metrics: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    size: int
    aliases: tuple[str, ...]
    folder: Path
    origin: str = TRAINED
    reason: str | None = None
    attempts: int = 0
    parent: str | None = None
    dataset: str | None = None
    tags: Sequence[str] = ()
    notes: str | None = None
    local: bool = True
    stored: bool = False
    fetched: bool = False

    @property
    def key(self) -> str:
        """Its key in the shared store."""
        return weights_key(self.model, self.id)


def weights_key(model: str, version_id: str) -> str:
    """The key of a version in the shared store."""
    return f"models/{model}/weights/{version_id}"


Bring = Callable[[WeightsVersion], Awaitable[WeightsVersion]]


class WeightsVersions:
    """HOME/weights and the tables `weights` and `alias_moves`.

    `server` is the id of this home, by which its moves of aliases are told from others'; `shared`
    says that there is a store: what is added then is `publishing` until the store has it.
    """

    def __init__(
        self, root: Path, store: RecordStore, server: str = "", shared: bool = False
    ) -> None:
        self.root = root
        self.server = server
        self.shared = shared
        self.going: Counter[str] = Counter()
        """The ids of versions that are being deleted, which may take a while: no alias is moved
        to one. Counts those who delete it."""
        self._store = store
        self._bring: Bring | None = None
        self._installing = Turns()

    def bring_with(self, bring: Bring) -> None:
        """How the files of a version come here that are only in the shared store."""
        self._bring = bring

    async def start(self) -> None:
        """Removes what a server has left that was killed while installing, exporting, deleting."""
        for away in await asyncio.to_thread(put_away_before, self.root):
            version_id = away.name.removeprefix(GONE)
            known = await self._store.read(lambda c, one=version_id: find_weights(c, one))  # type: ignore[misc]
            whole = known is not None and known.local
            await asyncio.to_thread(bring_back if whole else remove_away, away)
        # Not of fetches: the next one goes on with what has come.
        absent = await self._store.read(absent_weights)
        await asyncio.to_thread(remove_unfinished, self.root, absent)
        await asyncio.to_thread(remove_unfinished_exports, self.root)

    # -- adding -------------------------------------------------------------------------------

    async def install(self, source: Path, mend: bool = False) -> Manifest:
        """Makes the version folder `source` (of a run) a folder here; it is not listed yet.

        Doing it again changes nothing; with `mend` a copy that is damaged is replaced. Raises
        BadVersion (it will never work) and OSError (the disk is full: try again later).
        """
        version_id = (await asyncio.to_thread(read_manifest, source)).id
        async with self._installing.hold(version_id):  # two imports of one archive at once
            return await asyncio.to_thread(install_version, source, self.root, mend)

    def record_in(self, manifest: Manifest) -> Callable[[Connection], None]:
        """The part of a transaction that lists an installed version.

        It is its model's `latest` from then on if a training made it.
        Handed out so that the run's own record can change in the same transaction.
        """
        record = record_of(manifest, state=PUBLISHING if self.shared else READY)

        def work(connection: Connection) -> None:
            known = find_weights(connection, record.id)
            if known is not None:  # another server had it first: the store told of it
                update_weights(connection, record.id, local=True, used_at=None)
            else:
                insert_weights(connection, record)
            if record.origin == TRAINED:
                move = AliasMove(record.model, LATEST, record.id, 0, self.server, datetime.now(UTC))
                move_alias(connection, move)

        return work

    async def publish(self, source: Path) -> WeightsVersion:
        """Installs a version folder and lists it at once. Raises as `install`."""
        manifest = await self.install(source)
        await self._store.write(self.record_in(manifest))
        return await self.get(manifest.model, manifest.id)

    # -- reading ------------------------------------------------------------------------------

    async def get(self, model: str, name: str) -> WeightsVersion:
        """The version of this id or alias. Raises WeightsNotFound."""
        found = await self.find(model, name)
        if found is None:
            raise WeightsNotFound(f"The model {model} has no weights version {name!r}.")
        return found

    async def find(self, model: str, name: str) -> WeightsVersion | None:
        """The version of this id or alias; None if there is none."""

        def work(connection: Connection) -> WeightsVersion | None:
            aliases = current_aliases(connection, model)
            move = aliases.get(name)
            version_id = name if move is None else move.version
            if version_id is None or VERSION_ID.match(version_id) is None:
                return None
            record = find_weights(connection, version_id, model)
            return None if record is None else self._version(record, _names(aliases))

        return await self._store.read(work)

    async def latest(self, model: str) -> WeightsVersion | None:
        """What a training made last, or None."""
        return await self.find(model, LATEST)

    async def default(self, model: str) -> WeightsVersion | None:
        """What predictions use that name no version: `production`, else `latest`, else what they
        used last, else None."""
        for alias in (PRODUCTION, LATEST):
            found = await self.find(model, alias)
            if found is not None:
                return found
        return next(iter(await self.proven(model, 1)), None)

    async def split(self, model: str, alias: str = PRODUCTION) -> Split | None:
        """How an alias divides the calls; None if it names one version, or nothing."""
        moves = await self._store.read(lambda c: current_aliases(c, model))
        return moves[alias].split if alias in moves else None

    async def proven(self, model: str, limit: int) -> list[WeightsVersion]:
        """The versions that predictions used by default here, the last one first."""

        def work(connection: Connection) -> list[WeightsVersion]:
            names = _names(current_aliases(connection, model))
            found = last_loaded(connection, model, limit)
            return [self._version(record, names) for record in found]

        return await self._store.read(work)

    async def taken(self, version_id: str) -> None:
        """Predictions use the version from now on: its workers have loaded it."""
        now = datetime.now(UTC)
        await self._store.write(lambda c: update_weights(c, version_id, loaded_at=now))

    async def aliases(self, model: str) -> dict[str, str]:
        """The ids of the model's versions by alias."""
        moves = await self._store.read(lambda c: current_aliases(c, model))
        return {alias: move.version for alias, move in moves.items() if move.version is not None}

    async def list(self, model: str, limit: int | None = None) -> list[WeightsVersion]:
        """The model's versions, newest first, without their `files`."""
        return [*(await self.page(model, limit))[0]]

    async def for_run(self, model: str, values: Iterable[Any]) -> dict[str, str]:
        """What a training may name: the ids of the model's versions by alias.

        Those that its arguments `values` name, by alias or id, are here when this returns: its
        processes cannot reach the store. Raises StoreUnavailable and its kin.
        """
        for text in {value for value in values if isinstance(value, str)}:
            version = await self.find(model, text)
            if version is not None and self._bring is not None:
                await self._bring(version)
        return await self.aliases(model)

    async def page(
        self,
        model: str,
        limit: int | None = None,
        cursor: str | None = None,
        tag: str | None = None,
        state: str | None = None,
    ) -> tuple[Sequence[WeightsVersion], str | None]:
        """Versions, newest first, without their `files`; and the cursor of the next page, if any.

        Raises InvalidArguments for a cursor that is none.
        """
        beyond = seq_of(cursor)

        def work(connection: Connection) -> tuple[list[WeightsRecord], dict[str, AliasMove]]:
            more = None if limit is None else limit + 1
            found = page_of_weights(connection, model, more, beyond, tag, state)
            return found, current_aliases(connection, model)

        records, aliases = await self._store.read(work)
        names = _names(aliases)
        page = records if limit is None else records[:limit]
        following = cursor_after(page[-1].seq) if len(page) < len(records) else None
        return [self._version(record, names) for record in page], following

    async def check(self, version: WeightsVersion) -> bool:
        """True if every file of the version is there with its size."""
        return await asyncio.to_thread(is_whole, self.root / version.id)

    # -- changing -----------------------------------------------------------------------------

    async def label(self, version: WeightsVersion, changes: Mapping[str, Any]) -> WeightsVersion:
        """Sets `tags` or `notes`, those that are given. Raises WeightsNotFound."""

        def work(connection: Connection) -> bool:
            record = find_weights(connection, version.id)
            if record is None:
                return False
            counter = record.labels_counter + 1
            values = {**changes, "labels_counter": counter, "labels_stored": False}
            return update_weights(connection, version.id, **values)

        await self._store.write(work)
        return await self.get(version.model, version.id)

    async def forget(self, version_id: str) -> None:
        """Removes the record and the folder: both, whatever line the server is killed at."""
        async with self._installing.hold(version_id):
            away = await asyncio.to_thread(put_away, self.root, version_id)
            try:
                await self._store.write(lambda c: delete_weights(c, version_id))
            except BaseException:
                await asyncio.to_thread(bring_back, away)
                raise
            await asyncio.to_thread(remove_away, away)

    def _version(
        self, record: WeightsRecord, names: Mapping[str, tuple[str, ...]]
    ) -> WeightsVersion:
        return WeightsVersion(
            id=record.id,
            model=record.model,
            run=record.run,
            created_at=record.created_at,
            state=record.state,
            step=record.step,
            checkpoint=record.checkpoint,
            metrics=record.metrics or {},
            files=record.files,
            size=record.size,
            aliases=names.get(record.id, ()),
            folder=self.root / record.id / "files",
            origin=record.origin,
            reason=record.reason,
            attempts=record.attempts,
            parent=record.parent,
            dataset=record.dataset,
            tags=tuple(record.tags),
            notes=record.notes,
            local=record.local,
            stored=record.stored,
            fetched=record.used_at is not None,
        )


def record_of(manifest: Manifest, **values: Any) -> WeightsRecord:
    """The record of a version, from its manifest."""
    record = WeightsRecord(
        id=manifest.id,
        model=manifest.model,
        created_at=manifest.created_at,
        run=manifest.run,
        origin=manifest.origin,
        step=manifest.step,
        checkpoint=manifest.checkpoint,
        metrics=manifest.metrics,
        files=manifest.files,
        size=manifest.size,
        parent=manifest.parent,
        dataset=None if manifest.dataset is None else manifest.dataset.get("id"),
    )
    return replace(record, **values)


def _names(aliases: Mapping[str, AliasMove]) -> dict[str, tuple[str, ...]]:
    """The aliases of each version that has any."""
    names: dict[str, tuple[str, ...]] = {}
    for alias, move in aliases.items():
        if move.version is not None:
            names[move.version] = (*names.get(move.version, ()), alias)
    return names
