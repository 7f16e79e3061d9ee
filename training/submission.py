"""Taking a run in: its folder first, then its record. Runs in the server.

Whatever line the server dies at, there is a folder without a record, which the next start removes,
or a whole run.
"""

from __future__ import annotations

import asyncio
import errno
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ..clearing import remove_tree
from ..errors import DiskFull, RunConflict, RunNotFound, StorageUnavailable
from ..models_plugin.plugin import PluginSource
from ..records.datasets import require_dataset
from ..records.home import Home
from ..records.idempotency import find_key, insert_key
from ..records.runs import RunRecord, find_resumption, find_run, insert_run
from ..records.store import RecordStore
from ..schemas.transport import RequestData
from ..storage.weights import WeightsVersions
from ..turns import Turns
from .dates import local_date
from .messages import RunOrder
from .options import RunLimits, TrainingOptions
from .orders import seed_of, write_run_folder
from .paths import RunPaths
from .replays import key_hash, request_digest, sent_digest
from .resuming import Resumption, carry_over


@dataclass(frozen=True)
class DatasetRef:
    """A dataset version that is here: `folder` holds its files, `digest` is of their content."""

    id: str
    name: str | None
    digest: str | None
    folder: Path

    def to_data(self) -> dict[str, Any]:
        """As `RunOrder.dataset`."""
        names = {"id": self.id, "name": self.name, "digest": self.digest}
        return {**names, "folder": str(self.folder.absolute())}


@dataclass(frozen=True)
class Asked:
    """What a client itself has said, by which a repeat with its Idempotency-Key is told.

    `whole` is as it came, `request` without what is asked for beside the arguments, and `named`
    that, in the client's words: by the time of a repeat an alias, or a dataset's name, may mean
    something else.
    """

    request: RequestData
    whole: RequestData
    named: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """What a client asks for. `args` are the validated arguments as JSON, without the secret ones.

    `secrets` names those; uploads are in `files_folder`; `key` is the client's Idempotency-Key.
    `repeats` is the version whose training is made again; `seed` None: chosen by `seed_of`.
    `resumes` is what an ended run leaves to this one, which goes on with it. `run_id` None: a new.
    `limits` are those that the client asked for. `asked` None: `request` is what it asked.
    """

    source: PluginSource
    request: RequestData
    args: Mapping[str, Any]
    secrets: Sequence[str] = ()
    files_folder: Path | None = None
    key: str | None = None
    principal: str = ""
    name: str | None = None
    tags: Sequence[str] = field(default_factory=tuple)
    dataset: DatasetRef | None = None
    repeats: str | None = None
    seed: int | None = None
    resumes: Resumption | None = None
    run_id: str | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    asked: Asked | None = None


class Submissions:
    """Makes runs of submissions. `recorded` is called after each commit; `turns` are held, by run,
    by whoever needs the folder of an ended one as it is: to go on with it, to remove it."""

    def __init__(
        self,
        store: RecordStore,
        home: Home,
        versions: WeightsVersions,
        options: TrainingOptions,
        recorded: Callable[[], None],
    ) -> None:
        self._store = store
        self._home = home
        self._versions = versions
        self._options = options
        self._recorded = recorded
        self.turns = Turns()
        self._keys = Turns()
        self._under_way: set[asyncio.Task[RunRecord]] = set()

    async def submit(self, what: Submission) -> RunRecord:
        """The run, committed. A caller that is cancelled meanwhile does not undo it half.

        Raises IdempotencyConflict, RunConflict, RunNotFound (it was to go on with a run that was
        purged meanwhile), DiskFull, StorageUnavailable.
        """
        task = asyncio.ensure_future(self._submit(what))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for those under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _submit(self, what: Submission) -> RunRecord:
        if what.resumes is not None:
            # What it takes over must not be removed while it is being taken.
            async with self.turns.hold(what.resumes.record.id):
                return await self._keyed(what)
        return await self._keyed(what)

    async def _keyed(self, what: Submission) -> RunRecord:
        if what.key is None:
            return await self._record(what, None)
        key = key_hash(what.key, what.principal, what.source.name)
        async with self._keys.hold(key):
            asked = what.asked or Asked(what.request, what.request)
            named = {
                **asked.named,
                "max_seconds": _text(what.limits.max_seconds),
                "restart_on_failure": _text(what.limits.restarts),
            }
            digest = await asyncio.to_thread(
                request_digest, what.key, asked.request, what.args, what.files_folder, named
            )
            earlier = await self._store.read(lambda c: _replayed(c, key, digest))
            if earlier is not None:
                return earlier
            sent = await asyncio.to_thread(
                sent_digest, what.key, asked.whole, what.files_folder, asked.named
            )
            return await self._record(what, (key, digest, sent))

    async def _record(self, what: Submission, key: tuple[str, str, str] | None) -> RunRecord:
        now = datetime.now(UTC)
        limits = self._options.limits_of(what.source.name, what.limits)
        draft = RunRecord(
            id=what.run_id or uuid.uuid4().hex,
            model=what.source.name,
            args=what.args,
            date=local_date(now),
            created_at=now,
            principal=what.principal,
            name=what.name,
            tags=tuple(what.tags),
            dataset=None if what.dataset is None else what.dataset.id,
            repeats=what.repeats,
            resumed_from=None if what.resumes is None else what.resumes.record.id,
            max_seconds=limits.max_seconds,
            restart_on_failure=limits.restarts or 0,
        )
        paths = RunPaths(self._home.runs / draft.id)
        order = await self._order(draft, what)

        def work(connection: Connection) -> RunRecord:
            if draft.resumed_from is not None:
                _check_resumable(connection, draft.resumed_from)
            if draft.dataset is not None:
                require_dataset(connection, draft.dataset)
            record = insert_run(connection, draft)
            if key is not None:
                insert_key(connection, *key, run=record.id, now=now)
            return record

        try:
            await asyncio.to_thread(
                write_run_folder, paths, order, what.request, what.secrets, what.files_folder
            )
            if what.resumes is not None:
                old = RunPaths(self._home.runs / what.resumes.record.id)
                await asyncio.to_thread(carry_over, old, paths)
            record = await self._store.write(work)
        except OSError as error:
            await asyncio.to_thread(remove_tree, paths.root)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = DiskFull if full else StorageUnavailable
            raise kind(f"The run's folder cannot be written: {error}") from error
        except Exception:
            await asyncio.to_thread(remove_tree, paths.root)
            raise
        self._recorded()
        return record

    async def _order(self, record: RunRecord, what: Submission) -> RunOrder:
        options = self._options
        weights = await self._versions.for_run(record.model, record.args.values())
        weights_folder = options.weights_folders.get(record.model)
        if what.resumes is not None:
            weights = what.resumes.order.weights
        return RunOrder(
            id=record.id,
            model=record.model,
            source=what.source.to_data(),
            pinned=dict(record.args),
            seed=seed_of(record.args) if what.seed is None else what.seed,
            device=options.device,
            threads=options.threads_each,
            cpus=None if options.cpus is None else list(options.cpus),
            nice=options.nice,
            memory_limit=options.memory_limits.get(record.model, options.memory_limit),
            data_root=None if options.data_root is None else str(options.data_root),
            weights_folder=None if weights_folder is None else str(weights_folder.absolute()),
            weights_root=str(self._home.weights),
            weights=weights,
            created_at=record.created_at.isoformat(),
            dataset=None if what.dataset is None else what.dataset.to_data(),
            repeats=what.repeats,
            resumed_from=record.resumed_from,
            max_seconds=record.max_seconds,
            grace_s=options.stop_grace_s,
        )


def _text(number: float | None) -> str | None:
    return None if number is None else f"{number:g}"


def _check_resumable(connection: Connection, run_id: str) -> None:
    if find_run(connection, run_id) is None:
        raise RunNotFound(f"There is no run {run_id}: it was removed (purge).")
    under_way = find_resumption(connection, run_id)
    if under_way is not None:
        raise RunConflict(f"The run {under_way} goes on with it already.")


def _replayed(connection: Connection, key: str, digest: str) -> RunRecord | None:
    run_id = find_key(connection, key, digest, datetime.now(UTC))
    return None if run_id is None else find_run(connection, run_id)
