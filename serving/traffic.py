"""Divides the calls that name no version between versions, as `production` says.

Runs in the front. A version gets its share only once its workers are loaded and warm; the share of
one that cannot be loaded goes to the default, and what had the calls before keeps them until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ModelyardError
from .choices import Division
from .group import WorkerGroup
from .messages import WeightsRef
from .others import OtherVersions
from .shadow import Shadow

log = logging.getLogger(__name__)

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fill [0, 1) evenly (Knuth, TAOCP 3, 6.4): any 100 calls in a row are
divided as the weights say, give or take a few."""


class Traffic:
    """The workers of the versions beside the default one that calls or copies of calls go to."""

    def __init__(
        self, make: Callable[[WeightsRef], WorkerGroup], others: OtherVersions, shadow: Shadow
    ) -> None:
        self._make = make
        self._others = others
        self._shadow = shadow
        self._division: Division | None = None
        self._groups: dict[str, WorkerGroup] = {}
        self._problems: dict[str, str] = {}
        self._newest: Division | None = None
        self._moving = asyncio.Lock()
        self._loading: WorkerGroup | None = None
        self._calls = 0

    async def close(self, why: str) -> None:
        """Ends the workers; calls that are still there fail with `why`."""
        await self._shadow.close()
        await asyncio.gather(*(group.close(why) for group in self.groups()))

    # -- what is there ------------------------------------------------------------------------

    @property
    def divided(self) -> bool:
        """True if there is more than the default."""
        return self._division is not None

    def groups(self) -> list[WorkerGroup]:
        """Every group, also one that is being loaded."""
        return [*self._groups.values(), *([self._loading] if self._loading else [])]

    def ids(self) -> set[str]:
        """The versions that are loaded, or are to be."""
        found = set(self._groups)
        for division in (self._division, self._newest):
            found |= division.ids if division is not None else set()
        return found

    def get(self, version: str) -> WorkerGroup | None:
        """The loaded group of a version."""
        return self._groups.get(version)

    @property
    def problem(self) -> str | None:
        """Why the calls are not divided as they are meant to be."""
        lost = {v: group.problem for v, group in self._groups.items() if group.problem}
        told = [f"{version}: {text}" for version, text in {**self._problems, **lost}.items()]
        if self._newest is not None and self._newest.problem:
            told.append(self._newest.problem)
        return "; ".join(told) or None

    def to_data(self, default: str | None) -> dict[str, Any] | None:
        """What an operator may want to know, as plain data; None if nothing is divided.

        `default` is the version that answers by default.
        """
        division = self._newest
        if division is None:
            return None
        shares = [
            {
                "version": ref.id,
                "weight": weight,
                "ready": ref.id == default or self._is_ready(ref.id),
            }
            for ref, weight in division.shares
        ]
        shadow = None
        if division.shadow is not None:
            version = division.shadow.id
            shadow = {
                "version": version,
                "share": division.shadow_share,
                "ready": self._is_ready(version),
                **self._shadow.counts,
            }
        return {"versions": shares, "shadow": shadow, "problem": self.problem}

    def _is_ready(self, version: str) -> bool:
        group = self._groups.get(version)
        return group is not None and group.can_answer

    # -- calls --------------------------------------------------------------------------------

    def choose(self, default: WorkerGroup | None, sticky: str | None) -> WorkerGroup | None:
        """The group of the next call; of calls with the same `sticky` always the same one, while
        the division stays as it is. Without a `default` another one that has a share, if any."""
        division = self._division
        if division is None:
            return default
        self._calls += 1
        point = point_of(sticky) if sticky is not None else self._calls * _GOLDEN % 1
        index = chosen([weight for _, weight in division.shares], point)
        group = self._groups.get(division.shares[index][0].id) if index else None
        if group is not None and group.can_answer:
            return group
        return default if default is not None else self._any_of(division)

    def _any_of(self, division: Division) -> WorkerGroup | None:
        groups = [self._groups.get(ref.id) for ref, _ in division.shares]
        return next((group for group in groups if group is not None and group.can_answer), None)

    @property
    def shadow(self) -> Shadow | None:
        """Who takes copies of calls, if anybody does."""
        return self._shadow if self._shadow.group is not None else None

    # -- moves --------------------------------------------------------------------------------

    async def divide(self, division: Division | None) -> None:
        """Divides the calls so from now on: what is not loaded yet is loaded first."""
        self._newest = division
        async with self._moving:
            if self._newest is not division:
                return  # it was moved again meanwhile
            made, problems = dict[str, WorkerGroup](), dict[str, str]()
            beside = [] if division is None else division.beside
            for ref in beside:
                if ref.id in self._groups:
                    continue
                try:
                    made[ref.id] = await self._loaded(ref)
                except ModelyardError as error:
                    problems[ref.id] = error.message
                    log.error("no share for %s: %s", ref.id, error.message)
                except BaseException:
                    for group in made.values():
                        self._others.retire(group)
                    raise
            # Of those that were here some may have been taken meanwhile: they are somebody else's.
            found = {ref.id: made.get(ref.id) or self._groups.get(ref.id) for ref in beside}
            groups = {version: group for version, group in found.items() if group is not None}
            before, self._groups = self._groups, groups
            self._division, self._problems = division, problems
            shadow = None if division is None or division.shadow is None else division.shadow.id
            share = 1.0 if division is None else division.shadow_share
            self._shadow.follow(shadow, groups.get(shadow or ""), share)
            for version, group in before.items():
                if version not in groups:
                    self._others.keep(version, group)

    def take(self, version: str) -> WorkerGroup | None:
        """The loaded group of a version, which is the caller's from now on; None if there is none.

        Its share goes to the default until the calls are divided anew.
        """
        group = self._groups.pop(version, None)
        if group is not None:
            self._shadow.forget(group)
        return group

    async def release(self, version: str, why: str) -> None:
        """Ends the workers of a version; their calls fail with `why`."""
        group = self.take(version)
        if group is not None:
            self._problems[version] = why
            await group.close(why)

    async def _loaded(self, ref: WeightsRef) -> WorkerGroup:
        warm = await self._others.take(ref.id)
        if warm is not None:
            if warm.ready:
                return warm
            self._others.retire(warm)
        group = self._loading = self._make(ref)
        try:
            await group.open()
        except BaseException:
            await asyncio.shield(group.close())
            raise
        finally:
            self._loading = None
        self._others.give_way(ref.id)
        return group


def chosen(weights: Sequence[float], point: float) -> int:
    """The index of the share that `point`, from 0 to 1, lies in."""
    rest = point * sum(weights)
    for index, weight in enumerate(weights):
        rest -= weight
        if rest < 0:
            return index
    return 0  # rounding


def point_of(sticky: str) -> float:
    """A text's own point in [0, 1), the same on every server."""
    digest = hashlib.blake2b(sticky.encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48
