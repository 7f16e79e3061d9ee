"""The version that answers by default, and how another takes its place. Runs in the front."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ..errors import Corrupt, ModelyardError, NoWeights, PluginFailed, WorkerDied
from .choices import Choice
from .group import WorkerGroup
from .messages import WeightsRef
from .others import OtherVersions
from .spare import Spare
from .traffic import Traffic

log = logging.getLogger(__name__)


class DefaultVersion:
    """`group` answers by default; None before the model was loaded for the first time.

    `error` says why the version that should answer does not. `newest` is what was asked for last.
    `on_taken` is awaited with the id of a version that answers from now on.
    """

    def __init__(
        self,
        model: str,
        make: Callable[[WeightsRef | None, bool], WorkerGroup],
        others: OtherVersions,
        traffic: Traffic,
        spare: Spare,
        on_taken: Callable[[str], Awaitable[None]],
    ) -> None:
        self.group: WorkerGroup | None = None
        self.error: str | None = None
        self.newest: WeightsRef | None = None
        self._model = model
        self._make = make
        self._others = others
        self._traffic = traffic
        self._spare = spare
        self._on_taken = on_taken
        self._refused: set[str] = set()
        self._swapping = asyncio.Lock()
        self._renewals = 0

    @property
    def version(self) -> str | None:
        """The id of the version that answers."""
        ref = self.group.ref if self.group is not None else None
        return None if ref is None else ref.id

    def refuses(self, version: str) -> bool:
        """True if it is damaged, or the model's own code said that it cannot be loaded: trying
        again changes nothing."""
        return version in self._refused

    def no_weights(self) -> NoWeights:
        """What a call is told that needs a version."""
        problem = "yet" if self.error is None else f"to use ({self.error})"
        return NoWeights(
            f"The model {self._model!r} has no weights {problem}: train it first "
            f"(POST /v2/models/{self._model}/train/)."
        )

    async def assign_first(
        self, group: WorkerGroup, choices: Sequence[Choice], optional: bool
    ) -> None:
        """The first that can be loaded; if there are none, no weights if these are `optional`.

        Raises why the first cannot, if somebody chose that by hand and there is no other; else the
        model is up without weights: new ones help.
        """
        async with self._swapping:
            if group.load:  # a version that came meanwhile is newer than all of these
                return
            if choices:
                await self._assign_one_of(group, choices)
            elif optional:
                await _once_more(partial(group.assign, None))

    async def _assign_one_of(self, group: WorkerGroup, choices: Sequence[Choice]) -> None:
        first: ModelyardError | None = None
        for choice in choices:
            try:
                await _once_more(partial(group.assign, choice.ref))
            except ModelyardError as error:
                text = self.error if first else None
                self._not_loaded(choice.ref, error)
                self.error, first = text or self.error, first or error
            else:
                await self._taken(choice.ref)
                return
        if first is not None and choices[0].by_hand:
            raise first

    async def use(self, ref: WeightsRef) -> bool:
        """Starts and warms workers of the version, then moves the pointer; True if it moved.

        The old workers finish what they have, and stay warm for explicit choices. If the new ones
        cannot be loaded the old keep serving.
        """
        self.newest = ref
        async with self._swapping:
            if self.newest != ref or self.version == ref.id or self.group is None:
                return False
            try:
                await _once_more(partial(self._swap, self.group, ref))
            except ModelyardError as error:
                self._not_loaded(ref, error)
                if self.newest == ref:
                    self.newest = None
                return False
            self.error = None
            await self._taken(ref)
            return True

    async def _swap(self, old: WorkerGroup, ref: WeightsRef) -> None:
        if not old.load:
            await old.assign(ref)
            return
        new = await self._others.take(ref.id) or self._traffic.take(ref.id)
        if new is not None and not new.ready:
            # Asleep, or it has lost its workers and may not get others: what waits is to be
            # answered at once.
            self._others.retire(new)
            new = None
        if new is None:
            new = self._make(ref, True)
            await new.open(await self._spare.take())
            self._others.give_way(ref.id)
        self.group = new
        new.calls.take_over(old.calls)
        if old.ref is not None:
            self._others.keep(old.ref.id, old)
        else:
            self._others.retire(old)

    async def give_up(self, group: WorkerGroup, error: Corrupt) -> bool:
        """Ends a group that answered by default and cannot be loaded any more; False if it does no
        longer, or can be."""
        async with self._swapping:
            if self.group is not group or group.ready or group.ref is None:
                return False
            self._not_loaded(group.ref, error)
            if self.newest == group.ref:
                self.newest = None
            self.group = None
        await group.close(f"Weights {group.version}: {error.message}")
        return True

    async def renew(self, why: str) -> None:
        """Replaces the workers by others of the same version, without a gap; `why` is told with
        what keeps them from being loaded."""
        self._renewals += 1
        this = self._renewals
        async with self._swapping:
            if self.group is None or this != self._renewals:
                return  # another training has ended meanwhile: one renewal is enough for both
            if self.group.asleep:
                return  # its next worker imports the module anew
            old, new = self.group, self._make(self.group.ref, self.group.load)
            try:
                await new.open(await self._spare.take())
            except ModelyardError as error:
                self.error = f"{why}: {error.message}"
                log.error("model not renewed", extra={"model": self._model, "why": self.error})
                return
            self.group, self.error = new, None
            self._others.retire(old)

    def forget(self, version: str) -> None:
        """The version is being deleted: if it could not be loaded, it is not tried again."""
        if self.newest is not None and self.newest.id == version:
            self.newest = None

    def _not_loaded(self, ref: WeightsRef, error: ModelyardError) -> None:
        self.error = f"Weights {ref.id}: {error.message}"
        log.error("weights not loaded", extra={"model": self._model, "why": error.message})
        said_by_plugin = isinstance(error, PluginFailed) and error.original_type
        if said_by_plugin or isinstance(error, Corrupt):
            self._refused.add(ref.id)

    async def _taken(self, ref: WeightsRef) -> None:
        self._refused.discard(ref.id)
        await self._on_taken(ref.id)


async def _once_more(load: Callable[[], Awaitable[None]]) -> None:
    """A worker that dies while it loads may have been killed for another's sake (memory, say)."""
    try:
        await load()
    except WorkerDied:
        await load()
