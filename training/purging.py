"""Removing ended runs for good: record and folder. What they published stays. Runs in the server.

The folder is renamed out of the way first, which takes no space; then the record goes, then the
folder. Killed in between, the next start completes it if the record is gone, and else undoes it
(`orders.remove_unrecorded`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from ..clearing import remove_tree
from ..errors import ModelyardError, RunConflict, RunNotFound
from ..records.home import Home
from ..records.runs import (
    RunRecord,
    delete_run,
    ended_beyond,
    find_resumption,
    find_run,
    models_with_runs,
)
from ..records.store import RecordStore
from ..turns import Turns
from .orders import GONE

log = logging.getLogger(__name__)


class RunPurge:
    """Removes ended runs: one that is named, and those beyond what is kept of each model.

    `keep` is how many ended runs of a model stay (None: all), `own` the same by model. `turns` are
    the run service's: nobody reads the folder of a run while it goes.
    """

    def __init__(
        self,
        store: RecordStore,
        home: Home,
        keep: int | None,
        own: Mapping[str, int | None],
        turns: Turns,
    ) -> None:
        self._store = store
        self._root = home.runs
        self._keep, self._own = keep, own
        self._turns = turns

    async def purge(self, model: str, run_id: str) -> RunRecord:
        """Removes an ended run; its record as it was. Goes on if the caller is cancelled.

        Raises RunNotFound, RunConflict while it has not ended, or another run goes on with it,
        DiskFull and StorageUnavailable; then it is as before.
        """
        return await asyncio.shield(asyncio.ensure_future(self._in_turn(model, run_id)))

    async def retain(self, model: str) -> None:
        """Removes what is beyond the limit, the oldest first. Raises nothing: it can wait."""
        keep = self._own.get(model) or self._keep
        if keep is None:
            return
        try:
            for run_id in await self._store.read(lambda c: ended_beyond(c, model, keep)):
                # Another run goes on with it: after that one's end, which may be weeks away and is
                # no reason to keep the others. Or it was purged meanwhile.
                with suppress(RunConflict, RunNotFound):
                    await self.purge(model, run_id)
        except (ModelyardError, OSError) as error:
            log.warning("the ended runs of %s are not removed yet: %s", model, error)

    async def retain_all(self) -> None:
        """The same for every model that has runs."""
        for model in await self._store.read(models_with_runs):
            await self.retain(model)

    async def _in_turn(self, model: str, run_id: str) -> RunRecord:
        async with self._turns.hold(run_id):  # who comes second must not bring the folder back
            return await self._purge(model, run_id)

    async def _purge(self, model: str, run_id: str) -> RunRecord:
        await self._store.read(lambda c: _removable(c, model, run_id))
        folder, away = self._root / run_id, self._root / f"{GONE}{run_id}"
        await asyncio.to_thread(_move, folder, away)

        def work(connection: Connection) -> RunRecord:
            record = _removable(connection, model, run_id)  # a run may go on with it by now
            delete_run(connection, run_id)
            return record

        try:
            record = await self._store.write(work)
        except BaseException:
            await asyncio.to_thread(_move, away, folder)
            raise
        await asyncio.to_thread(remove_tree, away)
        return record


def _removable(connection: Connection, model: str, run_id: str) -> RunRecord:
    record = find_run(connection, run_id, model)
    if record is None:
        raise RunNotFound(f"The model {model} has no run {run_id!r}.")
    if not record.finished:
        told = f"{record.status.value}, {record.phase.value}"
        raise RunConflict(f"Only ended runs are purged: this one is {told}. Cancel it first.")
    follower = find_resumption(connection, run_id)
    if follower is not None:
        raise RunConflict(f"The run {follower} goes on with it: purge it when that has ended.")
    return record


def _move(source: Path, target: Path) -> None:
    if source.exists():
        source.rename(target)
