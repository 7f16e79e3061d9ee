"""Bundles that were fetched from the store when they were first used: one fetch each, and a limit.

Runs in the server.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..clearing import remove_tree
from ..errors import Busy, Corrupt, NotFound, StorageUnavailable, StoreUnavailable
from .office import StorageOffice
from .stores.url import without_secrets

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 5.0
_REMEDY = (
    "Trying again does not help. A server whose copy is whole can mend the store: POST to its "
    "address with `/retry` there (of weights also `modelyard weights push --mend`)."
)
QUIET_S = 30.0
"""Who waits for a fetch of which nothing comes is told so after this many seconds."""


@dataclass(frozen=True)
class FetchedBundle:
    """A copy that may be dropped, as the store has it too. `key` is its key there, `size` is in
    bytes."""

    key: str
    id: str
    size: int
    used_at: datetime


class Shelf(Protocol):
    """The bundles of one kind in a home: its folder, and what is recorded of them."""

    @property
    def root(self) -> Path:
        """The folder of the bundles: each in one of its id."""
        ...

    async def fetched(self) -> list[FetchedBundle]:
        """The copies that were fetched, in any order."""
        ...

    async def came(self, bundle_id: str) -> None:
        """Records that it is here, fetched, and used now."""
        ...

    async def used(self, bundle_id: str) -> None:
        """Records that a fetched copy is used now."""
        ...

    async def left(self, bundle_id: str) -> None:
        """Records that it is not here any more."""
        ...

    async def in_use(self) -> set[str]:
        """The ids of those that somebody needs now: a worker, a run."""
        ...


class StoreCache:
    """What was fetched into a home. Copies beyond `limit` bytes go, that used longest ago first.

    Never one that is in use or that the store does not have. A single bundle that is larger than
    the limit is fetched all the same, alone. `limit` 0 is no limit. What was used in the last
    `grace_s` seconds stays: somebody may be about to open it. `quiet_s` is the longest that anybody
    waits without that bytes come.
    """

    def __init__(
        self,
        office: StorageOffice | None,
        limit: int = 0,
        grace_s: float = 30.0,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._office = office
        self._limit = limit
        self._grace_s = grace_s
        self._quiet_s = quiet_s
        self._shelves: list[Shelf] = []
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._noting: set[asyncio.Task[None]] = set()
        self._progress: dict[str, tuple[int, int]] = {}
        self._heard: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._held: dict[str, int] = {}
        self._clearing = asyncio.Lock()

    def add_shelf(self, shelf: Shelf) -> None:
        """What this shelf has fetched counts, and may be dropped."""
        self._shelves.append(shelf)

    async def close(self) -> None:
        """Ends the fetches under way; what came is kept for the next one."""
        tasks = [*self._fetches.values(), *self._noting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def bring(
        self, shelf: Shelf, key: str, bundle_id: str, size: int, limit_s: float | None = None
    ) -> None:
        """Has the bundle be here, whole. Many may ask for the same one at the same time.

        Raises StoreUnavailable if nothing of it comes for `quiet_s` seconds, and Busy if it takes
        longer than `limit_s` (in both cases the fetch goes on), NotFound (deleted meanwhile),
        Corrupt and DiskFull.
        """
        task = self._fetches.get(key)
        if task is None:
            task = asyncio.ensure_future(self._fetch(shelf, key, bundle_id, size))
            self._fetches[key] = task
            task.add_done_callback(lambda done: self._fetched(key, done))
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = math.inf if limit_s is None else began + limit_s
        while not task.done():
            now = loop.time()
            quiet = self._heard.get(key, began) + self._quiet_s
            if now >= until:
                raise Busy(self._so_far(key, bundle_id, size) + ".", _RETRY_AFTER_S)
            if now >= quiet:
                raise StoreUnavailable(
                    f"{self._so_far(key, bundle_id, size)}; nothing came for {self._quiet_s:g} s. "
                    "It is tried on: ask again."
                )
            await asyncio.wait([task], timeout=min(until, quiet) - now)
        await task

    async def touch(self, shelf: Shelf, bundle_id: str) -> None:
        """A fetched copy is used now. Recorded at most once a minute, and if that cannot be now,
        the next time: who uses it, a prediction, has nothing to do with it."""
        now = time.monotonic()
        last = self._used.get(bundle_id)
        self._used[bundle_id] = now
        if last is None or now - last > 60:
            noting = asyncio.ensure_future(_note(shelf, bundle_id))
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)

    @asynccontextmanager
    async def holding(self, ids: Iterable[str]) -> AsyncIterator[None]:
        """These stay while the block runs: their files are being read."""
        held = list(ids)
        for one in held:
            self._held[one] = self._held.get(one, 0) + 1
        try:
            yield
        finally:
            for one in held:
                self._held[one] -= 1
                if not self._held[one]:
                    del self._held[one]

    def progress(self, key: str) -> tuple[int, int] | None:
        """Bytes fetched and bytes in all of what is being fetched now, else None."""
        return self._progress.get(key)

    async def make_room(self, size: int = 0) -> None:
        """Drops copies until `size` more bytes fit into the limit, or nothing else may go."""
        if not self._limit:
            return
        async with self._clearing:
            found = [(item, shelf) for shelf in self._shelves for item in await shelf.fetched()]
            total = sum(item.size for item, _ in found)
            if total + size <= self._limit:
                return
            busy = {one for shelf in self._shelves for one in await shelf.in_use()}
            for item, shelf in sorted(found, key=lambda pair: pair[0].used_at):
                if total + size <= self._limit:
                    return
                if item.id in busy or self._is_held(item.id) or not await self._is_stored(item):
                    continue
                await self._drop(shelf, item)
                total -= item.size

    # -- parts ------------------------------------------------------------------------------------

    async def _fetch(self, shelf: Shelf, key: str, bundle_id: str, size: int) -> None:
        if self._office is None:
            raise StoreUnavailable(
                f"The files of {bundle_id} are in a shared store: start the server with --storage."
            )
        async with self.holding([bundle_id]):
            await self.make_room(size)

            def tell(done: int, total: int) -> None:
                self._progress[key] = (done, total)
                self._heard[key] = asyncio.get_running_loop().time()

            try:
                await self._office.fetch(key, shelf.root, tell)
            except StoreUnavailable as error:
                raise StoreUnavailable(
                    f"{bundle_id} has to be fetched from {self._place}: {error.message}"
                ) from error
            except (Corrupt, NotFound) as error:
                if error.details.get("deleted"):
                    raise
                # Only a tombstone deletes: a manifest that is not there without one is lost.
                raise Corrupt(
                    f"{bundle_id} cannot be fetched from {self._place}: "
                    f"{error.message.rstrip('.')}. {_REMEDY}"
                ) from error
            await shelf.came(bundle_id)
            self._used[bundle_id] = time.monotonic()

    def _fetched(self, key: str, task: asyncio.Task[None]) -> None:
        self._fetches.pop(key, None)
        self._progress.pop(key, None)
        self._heard.pop(key, None)
        if not task.cancelled() and task.exception() is not None:  # also if nobody waits any more
            log.warning("%s could not be fetched: %s", key, task.exception())

    @property
    def _place(self) -> str:
        return f"the store {without_secrets(self._office.url)}" if self._office else "a store"

    def _so_far(self, key: str, bundle_id: str, size: int) -> str:
        done, total = self._progress.get(key, (0, size))
        return f"{bundle_id} is being fetched from {self._place} ({done} of {total} bytes)"

    def _is_held(self, bundle_id: str) -> bool:
        used = self._used.get(bundle_id)
        recent = used is not None and time.monotonic() - used < self._grace_s
        return recent or bundle_id in self._held

    async def _is_stored(self, item: FetchedBundle) -> bool:
        """False: the store has lost it, or cannot be asked; then this may be the only copy."""
        try:
            if self._office is not None and await self._office.has(item.key):
                return not self._is_held(item.id)  # who wants it may have come meanwhile
        except (StorageUnavailable, Corrupt) as error:
            log.warning("the copy of %s is kept: %s", item.id, error.message)
            return False
        log.warning("the copy of %s is kept: the store has not all of it any more", item.id)
        return False

    async def _drop(self, shelf: Shelf, item: FetchedBundle) -> None:
        await shelf.left(item.id)
        self._used.pop(item.id, None)
        await asyncio.to_thread(_remove, shelf.root, item.id)
        log.info("dropped the copy of %s (%d bytes); the store has it", item.id, item.size)


async def _note(shelf: Shelf, bundle_id: str) -> None:
    try:
        await shelf.used(bundle_id)
    except StorageUnavailable as error:
        log.warning("that %s is used is not recorded: %s", bundle_id, error.message)


def _remove(root: Path, bundle_id: str) -> None:
    # Renamed first: killed in the middle, what is left is what an interrupted fetch leaves, and
    # never a folder that looks like a whole one.
    gone = root / f".new-{bundle_id}"
    remove_tree(gone)
    try:
        (root / bundle_id).rename(gone)
    except FileNotFoundError:
        return
    remove_tree(gone)
