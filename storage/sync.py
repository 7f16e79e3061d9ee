"""Keeps a home and the shared store of one mind: what others published, deleted, named, comes in;
what was named here goes out.

Runs in the server. The store is never asked what is *missing* there: only a tombstone deletes, so
a store that lists nothing for a while harms nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from ..errors import ModelyardError
from ..records.aliases import (
    AliasMove,
    insert_move,
    set_stored,
    unstored_moves,
)
from ..records.splits import Split
from ..records.store import RecordStore
from ..records.weights import find_weights, unstored_labels, update_weights
from .aliases import may_be_named
from .office import StorageOffice
from .transfer.results import Changes, RegisterEntry
from .versions import VERSION_ID, BadVersion

log = logging.getLogger(__name__)

EVERY_S = 15.0
_LONGEST_S = 120.0
_FRESH_S = 0.3
_REGISTER = re.compile(r"models/([^/]+)/(aliases|labels)/([^/]+)\Z")
# What an entry raises that is none: it may hold any JSON at all.
_BAD = (
    *(BadVersion, SQLAlchemyError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError),
)
MODEL_OF = re.compile(r"models/([^/]+)/")


class Mirror(Protocol):
    """What a home records of the bundles of one kind in the store."""

    @property
    def kind(self) -> str:
        """ "weights" or "dataset"."""
        ...

    def keys(self, connection: Connection) -> list[str]:
        """The keys of the bundles that the store has, as far as is known."""
        ...

    def upsert(self, connection: Connection, key: str, manifest: Mapping[str, Any]) -> None:
        """Somebody published this bundle. Raises BadVersion for a manifest that is none."""
        ...

    async def deleted(self, key: str) -> str | None:
        """Somebody deleted it. Returns the model whose predictions may change by that."""
        ...

    def forget_store(self, connection: Connection) -> None:
        """The store is another one than it was."""
        ...


class StoreSync:
    """One round at each start and every `every_s` seconds, sooner when `wake` is called.

    `on_moved(models)` is awaited with the models of which an alias may name another version now.
    `memory` is the folder where the store's URL is remembered.
    """

    def __init__(
        self,
        office: StorageOffice,
        store: RecordStore,
        mirrors: Sequence[Mirror],
        memory: Path,
        on_moved: Callable[[set[str]], Awaitable[None]],
        every_s: float = EVERY_S,
    ) -> None:
        self._office = office
        self._store = store
        self._mirrors = {mirror.kind: mirror for mirror in mirrors}
        self._memory = memory / "mirrored.json"
        self._on_moved = on_moved
        self._every_s = every_s
        self._wake = asyncio.Event()
        self._ended = asyncio.Condition()
        self._begun = self._done = 0
        self._looked_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._told_all = False
        self._unplaced: dict[str, RegisterEntry] = {}
        self._problem: str | None = None

    async def start(self, limit_s: float) -> None:
        """Waits for the first round, at most `limit_s` seconds, and goes on by itself."""
        await self._store.write(self._forget_another)
        await asyncio.to_thread(self._remember)
        first = asyncio.Event()
        self._task = asyncio.ensure_future(self._run(first))
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await first.wait()

    async def close(self) -> None:
        """Stops; what was not told yet is told after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Something was moved or published here: others should hear of it soon."""
        self._wake.set()

    async def look(self, limit_s: float, fresh_s: float = _FRESH_S) -> None:
        """Asks the store now, for something that is not known here; waits at most `limit_s`.

        Returns at once if a round began in the last `fresh_s` seconds and has ended. One that is
        under way may have passed what is looked for: it is the next that is waited for.
        """
        if time.monotonic() - self._looked_at < fresh_s:
            return
        wanted = self._begun + 1
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s), self._ended:
                await self._ended.wait_for(lambda: self._done >= wanted)

    @property
    def problem(self) -> str | None:
        """Why the last round did not come to its end, None if it did."""
        return self._problem

    async def _run(self, first: asyncio.Event) -> None:
        pause = self._every_s
        while True:
            self._wake.clear()
            self._begun += 1
            began = time.monotonic()
            try:
                await self.round()
                self._problem, pause = None, self._every_s
            except (ModelyardError, OSError) as error:
                if self._problem is None:
                    log.warning("the store cannot be followed now: %s", error)
                self._problem = str(error)
                pause = min(2 * pause, max(_LONGEST_S, self._every_s))
            except Exception as error:
                log.exception("a round with the store failed")
                self._problem = f"{type(error).__name__}: {error}"
            first.set()
            self._looked_at, self._done = began, self._begun
            async with self._ended:
                self._ended.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def round(self) -> None:
        """Takes what is new in the store, then tells it what is new here.

        Raises StoreUnavailable and its kin; what was done until then stays done.
        """
        moved: set[str] = set()
        try:
            known = None if self._told_all else await self._store.read(self._known)
            async for page in self._office.changes(known):
                moved |= await self._take(page)
            self._told_all = True
            await self._store.write(self._place_labels)
        finally:
            if moved:
                await self._on_moved(moved)
        await self._tell()

    # -- in ---------------------------------------------------------------------------------------

    async def _take(self, page: Changes) -> set[str]:
        for problem in page.problems:
            log.warning("left out of the store's list: %s", problem)

        def work(connection: Connection) -> set[str]:
            models = set()
            for bundle in page.published:
                mirror = self._mirrors.get(bundle.kind)
                if mirror is not None:
                    with _left_out_if_bad(connection, bundle.key):
                        mirror.upsert(connection, bundle.key, bundle.manifest)
                models |= _model_of(bundle.key)
            for entry in page.registers:
                with _left_out_if_bad(connection, entry.register):
                    models |= self._take_entry(connection, entry)
            return models

        moved = await self._store.write(work)
        for key in page.deleted:
            mirror = self._mirrors.get("dataset" if key.startswith("datasets/") else "weights")
            model = None if mirror is None else await mirror.deleted(key)
            moved |= {model} if model is not None else set()
        return moved

    def _take_entry(self, connection: Connection, entry: RegisterEntry) -> set[str]:
        match = _REGISTER.match(entry.register)
        if match is None:
            return set()  # of a newer release
        model, kind, name = match.groups()
        if kind == "labels":
            # Its version may come later: placed when the round is over, or in a later one.
            self._unplaced[name] = entry
            return set()
        version = entry.value.get("version")
        if version is not None and not (VERSION_ID.match(str(version)) and may_be_named(name)):
            return set()
        move = AliasMove(
            model=model,
            alias=name,
            version=version,
            counter=entry.counter,
            server=entry.server,
            moved_at=_time(entry.value.get("moved_at")),
            stored=True,
            principal=str(entry.value.get("principal") or ""),
            split=_split(version, entry.value.get("split")),
        )
        insert_move(connection, move)
        return {model}

    def _place_labels(self, connection: Connection) -> None:
        for version_id, entry in list(self._unplaced.items()):
            record = find_weights(connection, version_id)
            if record is None:
                continue
            del self._unplaced[version_id]
            mine_waits = record.labels_counter > 0 and not record.labels_stored
            if mine_waits:  # set here later than the store's was heard of: it goes behind that
                counter = max(record.labels_counter, entry.counter + 1)
                update_weights(connection, version_id, labels_counter=counter)
            elif entry.counter >= record.labels_counter:
                notes = entry.value.get("notes")
                with _left_out_if_bad(connection, entry.register):
                    update_weights(
                        connection,
                        version_id,
                        tags=_texts(entry.value.get("tags")),
                        notes=None if notes is None else str(notes),
                        labels_counter=entry.counter,
                        labels_stored=True,
                    )

    def _known(self, connection: Connection) -> list[str]:
        return [key for mirror in self._mirrors.values() for key in mirror.keys(connection)]

    # -- out --------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        for move in await self._store.read(unstored_moves):
            value: dict[str, Any] = {
                "version": move.version,
                "moved_at": move.moved_at.isoformat(),
                "principal": move.principal,
            }
            if move.split is not None:  # a server of an earlier release sees the version alone
                value["split"] = move.split.to_data()
            register = f"models/{move.model}/aliases/{move.alias}"
            counter = await self._office.move(register, value, move.counter)
            await self._store.write(
                lambda c, move=move, counter=counter: set_stored(c, move, counter)  # type: ignore[misc]
            )
        for record in await self._store.read(unstored_labels):
            register = f"models/{record.model}/labels/{record.id}"
            labels = {"tags": list(record.tags), "notes": record.notes}
            counter = await self._office.move(register, labels, record.labels_counter)

            def stored(
                connection: Connection, record: Any = record, counter: int = counter
            ) -> None:
                now = find_weights(connection, record.id)
                if now is not None and now.labels_counter == record.labels_counter:
                    update_weights(
                        connection, record.id, labels_counter=counter, labels_stored=True
                    )
                elif now is not None:  # changed again meanwhile: that goes behind
                    update_weights(
                        connection, record.id, labels_counter=max(now.labels_counter, counter + 1)
                    )

            await self._store.write(stored)

    # -- another store ----------------------------------------------------------------------------

    def _forget_another(self, connection: Connection) -> None:
        # A home that was used with another store (or with none before aliases were kept): what
        # only that one has is not here; what is here is published to this one.
        with suppress(OSError, ValueError, KeyError):
            if json.loads(self._memory.read_bytes())["url"] == self._office.url:
                return
        for mirror in self._mirrors.values():
            mirror.forget_store(connection)

    def _remember(self) -> None:
        new = self._memory.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"url": self._office.url}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._memory)


@contextmanager
def _left_out_if_bad(connection: Connection, key: str) -> Iterator[None]:
    """What the records cannot take of one entry harms no other one: who wrote it may be broken."""
    try:
        with connection.begin_nested():
            yield
    except OperationalError:  # of the database (a full disk), not of the entry
        raise
    except _BAD as error:
        said = str(error).partition("\n")[0][:300]
        log.warning("left out of the store's list: %s: %s: %s", key, type(error).__name__, said)


def _model_of(key: str) -> set[str]:
    match = MODEL_OF.match(key)
    return set() if match is None else {match.group(1)}


def _split(version: str | None, value: Any) -> Split | None:
    """What the alias names beside `version`. Raises ValueError and the like for what is none."""
    if version is None or value is None:
        return None
    split = Split.from_data(value)
    if split.versions[0] != version or not all(VERSION_ID.match(one) for one in split.versions):
        raise ValueError("a split that is not of its alias's version")
    return split


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _time(text: Any) -> datetime:
    with suppress(ValueError):
        time = datetime.fromisoformat(str(text))
        return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return datetime.now(UTC)
