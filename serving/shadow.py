"""Copies of calls for a version that is being tried out: nobody waits for it. Runs in the front."""

from __future__ import annotations

import asyncio
import filecmp
import logging
from collections import Counter
from pathlib import Path

from ..clearing import remove_tree
from ..errors import ModelyardError
from ..schemas.transport import RequestData
from .group import WorkerGroup
from .messages import Prediction
from .observer import Observer

log = logging.getLogger(__name__)

OUTCOMES = ("equal", "different", "failed", "dropped")
_MOST = 8
"""Copies under way at the same time; more are dropped."""


class Shadow:
    """Sends copies to the group that it follows, and compares the answers byte by byte.

    `counts` tells how many were equal, different, failed and dropped, of the version that is
    followed.
    """

    def __init__(self, model: str, limit_s: float, observer: Observer) -> None:
        self.group: WorkerGroup | None = None
        self.counts: Counter[str] = Counter()
        self._version: str | None = None
        self._share = 1.0
        self._due = 0.0
        self._model = model
        self._limit_s = limit_s
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def follow(self, version: str | None, group: WorkerGroup | None, share: float) -> None:
        """Copies go to this group from now on, of a `share` of the calls; None: there are none."""
        if version != self._version:
            self.counts = Counter(dict.fromkeys(OUTCOMES, 0))
            self._due = 0.0
        self._version, self.group, self._share = version, group, share

    def forget(self, group: WorkerGroup) -> None:
        """The group is somebody else's from now on."""
        if self.group is group:
            self.group = None

    def take(
        self,
        request: RequestData,
        folder: Path | str,
        items: int,
        prediction: Prediction,
        default: WorkerGroup,
    ) -> bool:
        """Copies a call that has been answered by `prediction`, if it is its turn.

        True if the call's folder is ours from now on: removed when the copy has been answered. When
        anybody waits for the `default`, or many copies are under way, this one is dropped.
        """
        group = self.group
        if group is None or group.ref is None:
            return False
        self._due += self._share
        if self._due < 1:
            return False
        self._due -= 1
        full = len(self._tasks) >= _MOST or default.calls.depth[0] > 0
        if full or not group.ready:  # nor is it loaded again for a copy
            self._count(group.ref.id, "dropped")
            return False
        task = asyncio.ensure_future(self._copy(group, request, Path(folder), items, prediction))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _copy(
        self,
        group: WorkerGroup,
        request: RequestData,
        folder: Path,
        items: int,
        prediction: Prediction,
    ) -> None:
        assert group.ref is not None
        version = group.ref.id
        try:
            answer = await group.submit(request, folder / "shadow", self._limit_s, items).answer()
            same = await _same(prediction, answer)
            self._count(version, "equal" if same else "different")
        except ModelyardError as error:
            log.info("the shadow of %s failed: %s", self._model, error.message)
            self._count(version, "failed")
        except OSError:
            self._count(version, "failed")
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, folder))

    def _count(self, version: str, outcome: str) -> None:
        if version == self._version:
            self.counts[outcome] += 1
        self._observer.shadowed(self._model, version, outcome)


async def _same(one: Prediction, other: Prediction) -> bool:
    if one.content_type != other.content_type or (one.path is None) != (other.path is None):
        return False
    if one.path is None or other.path is None:
        return one.body == other.body
    return await asyncio.to_thread(filecmp.cmp, one.path, other.path, False)
