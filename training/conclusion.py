"""The end of a run: its weights become a version, then its record tells how it ended.

Runs in the server. The order makes every line safe to die at: version folder, then one transaction
with the version's record and the run's status. Until that commit another server does it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import StorageUnavailable
from ..records.runs import Outcome, Progress, RunRecord, find_run
from ..records.store import RecordStore
from ..schemas.states import Phase, Reason, Status
from ..storage.versions import BadVersion, Manifest, read_manifest
from ..storage.weights import WeightsVersion, WeightsVersions
from .attempts import over
from .dates import local_date
from .messages import LONGEST_TEXT, ExitRecord, RunProgress, RunResult, cut
from .moves import RunMoves
from .notices import wait_event
from .options import TrainingOptions
from .orders import tidy
from .paths import RunPaths, read_json

log = logging.getLogger(__name__)

OnEnded = Callable[[RunRecord, "WeightsVersion | None"], Awaitable[None]]
_LONGEST_PAUSE_S = 30.0
_MOST_NAMED = 5  # files that differ


class Unpublished(Exception):
    """The weights of a run that is trained cannot be published; the text says why."""


class Conclusion:
    """Ends runs. `on_ended(record, version)` is awaited, apart; no weights: `version` is None."""

    def __init__(
        self,
        store: RecordStore,
        moves: RunMoves,
        versions: WeightsVersions,
        options: TrainingOptions,
        on_ended: OnEnded,
    ) -> None:
        self._store = store
        self._moves = moves
        self._versions = versions
        self._options = options
        self._on_ended = on_ended
        self._announcements: set[asyncio.Task[None]] = set()

    async def conclude(
        self, record: RunRecord, paths: RunPaths, how: ExitRecord, poke: asyncio.Event
    ) -> None:
        """Takes a run without processes to `finished`. May be done again after any failure.

        `poke` is set when the run is cancelled meanwhile. Raises StorageUnavailable.
        """
        if not record.ended and how.status == Status.DONE.value:
            if await self._conclude_done(record, paths, how, poke):
                return
        elif not record.ended and await self._conclude_undone(record, paths, how):
            return
        await self._conclude_cancelled(record, paths, how)

    async def close(self) -> None:
        """Ends the announcements under way."""
        for task in self._announcements:
            task.cancel()
        await asyncio.gather(*self._announcements, return_exceptions=True)

    async def _conclude_done(
        self, record: RunRecord, paths: RunPaths, how: ExitRecord, poke: asyncio.Event
    ) -> bool:
        """False if the run was cancelled before it was done."""
        try:
            result = await asyncio.to_thread(_read_result, paths)
            manifest = await self._publish(record, paths, result, poke)
        except Unpublished as problem:
            how.status, how.reason = Status.ERROR.value, Reason.PUBLISH_FAILED.value
            how.message = f"Trained, but its weights could not be published: {problem}"
            return await self._conclude_undone(record, paths, how)
        outcome = Outcome(
            output=result.output,
            finish_date=local_date(_ended_at(how)),
            duration=str(_duration(record, how)),
        )
        compared = await self._compared(record, manifest)
        moved = await self._finish(
            record,
            paths,
            how,
            also=None if manifest is None else self._versions.record_in(manifest),
            status=Status.DONE,
            reason=Reason.COMPLETED,
            message=_text("\n".join(told for told in (result.note, compared) if told)),
            result=outcome,
            weights=None if manifest is None else manifest.id,
        )
        if manifest is not None and not moved:
            # Cancelled in the last moment: the version was never listed.
            await self._versions.forget(manifest.id)
        return moved

    async def _compared(self, record: RunRecord, manifest: Manifest | None) -> str | None:
        """Of a training that was made again: whether it came to the same weights, in words."""
        if record.repeats is None:
            return None
        if manifest is None:
            return f"No weights were made to compare with version {record.repeats}."
        repeated = await self._versions.find(record.model, record.repeats)
        if repeated is None:
            return f"Version {record.repeats} is not here any more: nothing was compared."
        told = compare_files(record.repeats, repeated.files, manifest.files)
        with suppress(BadVersion, OSError):  # its files are not on this disk
            folder = self._versions.root / repeated.id
            before = await asyncio.to_thread(read_manifest, folder)
            told = "\n".join([told, *compare_data(before.dataset, manifest.dataset)])
        return told

    async def _conclude_undone(self, record: RunRecord, paths: RunPaths, how: ExitRecord) -> bool:
        cancelled = how.status == Status.CANCELLED.value
        try:
            reason = Reason(how.reason)
        except ValueError:  # a word of a newer release
            reason = Reason.CANCELLED if cancelled else Reason.PLUGIN_FAILED
        return await self._finish(
            record,
            paths,
            how,
            status=Status.CANCELLED if cancelled else Status.ERROR,
            reason=reason,
            message=_text(how.message),
        )

    async def _conclude_cancelled(
        self, record: RunRecord, paths: RunPaths, how: ExitRecord
    ) -> None:
        await self._remove_unlisted(record, paths)
        await self._finish(record, paths, how)

    async def _remove_unlisted(self, record: RunRecord, paths: RunPaths) -> None:
        """The version folder of a run that was cancelled after that had been installed: by a server
        that was killed before it could list it, or remove it itself."""
        with suppress(BadVersion, OSError):
            manifest = await asyncio.to_thread(read_manifest, paths.version)
            installed = await asyncio.to_thread(read_manifest, self._versions.root / manifest.id)
            listed = await self._versions.find(record.model, manifest.id)
            if listed is None and installed.run == record.id:
                await self._versions.forget(manifest.id)

    async def _finish(
        self,
        record: RunRecord,
        paths: RunPaths,
        how: ExitRecord,
        also: Callable[..., object] | None = None,
        **changes: Any,
    ) -> bool:
        progress = await asyncio.to_thread(_last_progress, paths) or record.progress
        # Before the commit: should we die in between, the next server finds the run not ended, and
        # needs nothing of what is removed here to end it.
        done = changes.get("status") is Status.DONE
        reason: Reason | None = changes.get("reason", record.reason)
        said = None if reason is None else reason.value
        tidied = await asyncio.to_thread(tidy, paths, done)
        moved = await self._moves.move(
            record.id,
            also,
            of_epoch=record.epoch,
            phase=Phase.FINISHED,
            ended_at=_ended_at(how),
            progress=progress,
            tidied=tidied,
            attempts=over(record.attempts, said, changes.get("message")),
            **changes,
        )
        if moved is None:
            return False
        self._announce(moved)
        return True

    async def _publish(
        self, record: RunRecord, paths: RunPaths, result: RunResult, poke: asyncio.Event
    ) -> Manifest | None:
        """The installed version, None if the run made none. A full disk is waited for, to a limit.

        Raises Unpublished. Returns None too if the run is cancelled meanwhile.
        """
        if result.version is None and not paths.version_manifest.exists():
            return None
        if record.phase is not Phase.PUBLISHING:
            await self._moves.move(record.id, of_epoch=record.epoch, phase=Phase.PUBLISHING)
        give_up_at = time.monotonic() + self._options.publish_limit_s
        pause = 1.0
        while True:
            try:
                manifest = await self._versions.install(paths.version)
                if manifest.model != record.model or manifest.run != record.id:
                    raise Unpublished("the version names another model or run")
                return manifest
            except BadVersion as error:
                raise Unpublished(error.message) from error
            except OSError as error:
                if time.monotonic() + pause > give_up_at:
                    raise Unpublished(str(error)) from error
                await self._tell_trouble(record, str(error))
            poke.clear()
            await wait_event(poke, pause)
            now = await self._store.read(lambda c: find_run(c, record.id))
            if now is None or now.ended:
                return None
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _tell_trouble(self, record: RunRecord, problem: str) -> None:
        log.warning("run %s: its weights cannot be published yet: %s", record.id, problem)
        message = f"Trained; its weights cannot be published yet ({problem}). Trying again."
        with suppress(StorageUnavailable):  # the disk of the records is full as well
            await self._moves.move(record.id, of_epoch=record.epoch, message=message)

    def _announce(self, record: RunRecord) -> None:
        task = asyncio.ensure_future(self._call_on_ended(record))
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    async def _call_on_ended(self, record: RunRecord) -> None:
        try:
            version = None
            if record.weights is not None:
                version = await self._versions.get(record.model, record.weights)
            await self._on_ended(record, version)
        except Exception:
            log.exception("run %s: its end could not be announced", record.id)


def compare_files(
    version: str, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> str:
    """Whether two versions have the same files with the same bytes, in words."""
    old = {str(item["path"]): item.get("sha256") for item in before}
    new = {str(item["path"]): item.get("sha256") for item in after}
    differing = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if not differing:
        return f"Equal bit for bit to version {version}."
    told = ", ".join(differing[:_MOST_NAMED])
    more = f" and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
    return f"Not equal to version {version}: {told}{more} differ."


def compare_data(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[str]:
    """A line if a training read a folder whose files were others than at the repeated training.

    Versions of a stored dataset never change; another one was then chosen on purpose.
    """
    old, new = before or {}, after or {}
    name = new.get("name")
    if not name or name != old.get("name") or (old.get("id") and new.get("id")):
        return
    then, now = old.get("digest"), new.get("digest")
    if then and now and then != now:
        yield f"The data in `{name}` are not what they were: digest {then} then, {now} now."
    elif not (then and now):
        problem = new.get("problem") or old.get("problem") or "a hash is missing."
        yield f"Whether the data in `{name}` are what they were is not known: {problem}"


def _read_result(paths: RunPaths) -> RunResult:
    try:
        data = read_json(paths.result)
    except (OSError, ValueError) as error:
        raise Unpublished(f"its result cannot be read: {error}") from error
    if data is None:
        raise Unpublished("its result is missing")
    return RunResult.from_data(data)


def _text(message: str | None) -> str | None:
    """A message of the plugin's as text that can be kept: lone surrogates cannot be."""
    return cut(message).encode("utf-8", "replace").decode() if message else None


def _last_progress(paths: RunPaths) -> Progress | None:
    with suppress(OSError, ValueError, TypeError):
        data = read_json(paths.status)
        if data is not None:
            said = RunProgress.from_data(data)
            return Progress(said.done, said.total, cut(said.text, LONGEST_TEXT), said.step)
    return None


def _duration(record: RunRecord, how: ExitRecord) -> timedelta:
    """From the start to the end, never less than nothing: the clock may have been set meanwhile.

    That of the only attempt was counted by its supervisor, by a clock that nobody sets.
    """
    counted = timedelta(seconds=how.duration_s)
    if record.attempt <= 1 and counted:
        return counted
    return max(counted, _ended_at(how) - (record.started_at or record.created_at))


def _ended_at(how: ExitRecord) -> datetime:
    with suppress(ValueError):
        time_said = datetime.fromisoformat(how.ended_at)
        if time_said.tzinfo is not None:
            return time_said.astimezone(UTC)
    return datetime.now(UTC)
