"""The versions of one model beside its default: chosen by `weights=`, or the default before.

Runs in the front. Their workers are kept warm, the least recently used go first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import Busy, ModelyardError
from .group import WorkerGroup
from .messages import WeightsRef

_MORE_VERSIONS = 2  # may be loading at the same time; each is a process with its weights


class OtherVersions:
    """Worker groups by version; `make` makes one, `most` are kept warm."""

    def __init__(self, make: Callable[[WeightsRef], WorkerGroup], most: int) -> None:
        self._make = make
        self._most = most
        self._groups: dict[str, WorkerGroup] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self, why: str) -> None:
        """Ends every worker; calls that are still there fail with `why`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(group.close(why) for group in self._groups.values()))

    def groups(self) -> list[WorkerGroup]:
        """Every group, also those that are being loaded."""
        return list(self._groups.values())

    def ids(self) -> set[str]:
        """The versions of all groups."""
        return set(self._groups)

    def busy(self) -> set[str]:
        """The same without those that are only kept warm."""
        return {one for one, group in self._groups.items() if not group.idle} | set(self._opening)

    def warm(self, version: str) -> WorkerGroup | None:
        """The group of a version that is here, if it is only being loaded."""
        return self._groups.get(version)

    def get(self, ref: WeightsRef) -> WorkerGroup:
        """The group of a version; begins to load it if need be. Raises Busy."""
        group = self._groups.get(ref.id)
        if group is None:
            if len(self._groups) > self._most + _MORE_VERSIONS:
                raise Busy("Too many weights versions are asked for at the same time.", 5.0)
            group = self._groups[ref.id] = self._make(ref)
            group.calls.used_at = asyncio.get_running_loop().time()
            self._opening[ref.id] = self._spawn(self._open(ref, group))
            self._forget_oldest()
        return group

    async def take(self, version: str) -> WorkerGroup | None:
        """The loaded group of a version, which is the caller's from now on; None if there is none.

        One that is being loaded is waited for.
        """
        await self._opened(version)
        return self._groups.pop(version, None)

    def keep(self, version: str, group: WorkerGroup) -> None:
        """Keeps a group warm, if it can answer."""
        if not group.can_answer:
            self.retire(group)
            return
        self.give_way(version)
        self._groups[version] = group
        self._forget_oldest()

    def give_way(self, version: str) -> None:
        """Another group answers for this version from now on: the one that is here, because it was
        chosen while the other was being loaded, ends when it has answered what it has."""
        group = self._groups.pop(version, None)
        if group is not None:
            self.retire(group)

    def lost(self, group: WorkerGroup) -> None:
        """It cannot be loaded any more: nor is it tried until somebody asks for the version."""
        version = group.version
        if version is not None and self._groups.get(version) is group:
            self.give_way(version)

    async def release(self, version: str, why: str) -> None:
        """Ends the workers of a version; their calls fail with `why`."""
        group = await self.take(version)
        if group is not None:
            await group.close(why)

    def retire(self, group: WorkerGroup) -> None:
        """Ends a group's workers in the background, when they have answered what they have."""
        self._spawn(_retire(group))

    async def _open(self, ref: WeightsRef, group: WorkerGroup) -> None:
        try:
            await group.open()
        except ModelyardError as error:
            if self._groups.get(ref.id) is group:
                del self._groups[ref.id]
            await group.close(f"These weights cannot be loaded: {error.message}")
        finally:
            if self._opening.get(ref.id) is asyncio.current_task():
                del self._opening[ref.id]
        self._forget_oldest()

    async def _opened(self, version: str) -> None:
        opening = self._opening.get(version)
        if opening is not None:
            await asyncio.wait([opening])

    def _forget_oldest(self) -> None:
        by_use = sorted(self._groups, key=lambda version: self._groups[version].calls.used_at)
        for version in by_use[: max(0, len(by_use) - self._most)]:
            if version not in self._opening:
                self.retire(self._groups.pop(version))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _retire(group: WorkerGroup) -> None:
    try:
        await group.drain()
    finally:
        await asyncio.shield(group.close())
