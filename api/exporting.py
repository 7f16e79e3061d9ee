"""Makes exports of weights versions: one at a time of a model, and each only once. Runs in the
front.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from ..errors import Busy, DeadlineExceeded, InvalidArguments
from ..storage.exports import Export, VersionExports
from ..storage.weights import WeightsVersion

SAFETENSORS = "safetensors"
"""The one format that needs no plugin: the version's own files."""
_MOST_WAITING = 8  # exports of a model
_PACKING_S = 600.0
_MOST_AT_ONCE = 4  # of all models: an exporter of torch takes a gigabyte


class Performs(Protocol):
    """Has the model write this format of these weights into a folder; what it tells of it."""

    async def __call__(self, parameters: Mapping[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Making:
    """An export under way; `limit_s` is the deadline of the request that began it, if any."""

    model: str
    limit_s: float | None
    task: asyncio.Task[Export]


class Exporter:
    """One of an application. A client that leaves ends no export: the next one finds it made."""

    def __init__(self) -> None:
        self._making: dict[tuple[str, str], _Making] = {}
        # Two at a time of one model would be no faster; one that hangs holds up no other model's.
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def close(self) -> None:
        """Ends what is under way, processes included."""
        making = [one.task for one in self._making.values()]
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def make(
        self, version: WeightsVersion, wanted: str, perform: Performs, limit_s: float | None = None
    ) -> tuple[Export, bool]:
        """The export, and whether it was made now.

        `limit_s` is the request's own deadline: what it has begun ends with it, and is begun again
        for others who wait for it.

        Raises InvalidArguments if the weights have no such form, what the model's process fails
        with, DeadlineExceeded, Busy, WeightsNotFound, and OSError (disk full): then nothing of it
        is left.
        """
        exports, key = exports_of(version), (version.id, wanted)
        async with _within(limit_s, wanted):
            while True:
                found = await asyncio.to_thread(exports.find, wanted)
                if found is not None:
                    return found, False
                begun = self._making.get(key)
                making = begun or self._begin(version, exports, wanted, perform, limit_s)
                try:
                    return await asyncio.shield(making.task), True
                except DeadlineExceeded:
                    if begun is None or begun.limit_s is None:
                        raise
                except asyncio.CancelledError:
                    if making.task.cancelled():
                        raise Busy("The server is stopping.") from None
                    raise

    @asynccontextmanager
    async def _turn(self, model: str, wanted: str) -> AsyncIterator[None]:
        if wanted == SAFETENSORS:  # no work of the model's
            yield
        else:
            async with self._turns[model], self._places:
                yield

    def _begin(
        self,
        version: WeightsVersion,
        exports: VersionExports,
        wanted: str,
        perform: Performs,
        limit_s: float | None,
    ) -> _Making:
        waiting = sum(one.model == version.model for one in self._making.values())
        if waiting >= _MOST_WAITING:
            raise Busy(f"{waiting} exports of the model {version.model!r} wait already.", 30.0)
        task = asyncio.ensure_future(self._make(version, exports, wanted, perform, limit_s))
        making = _Making(version.model, limit_s, task)
        self._making[(version.id, wanted)] = making
        task.add_done_callback(lambda done: self._made((version.id, wanted), done))
        return making

    def _made(self, key: tuple[str, str], task: asyncio.Task[Export]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # looked at, should its client have gone

    async def _make(
        self,
        version: WeightsVersion,
        exports: VersionExports,
        wanted: str,
        perform: Performs,
        limit_s: float | None,
    ) -> Export:
        async with _within(limit_s, wanted), self._turn(version.model, wanted):
            try:
                folder = await asyncio.to_thread(exports.begin, wanted)
                if wanted == SAFETENSORS:
                    told = await asyncio.to_thread(_own_files, exports)
                else:
                    told = await perform(
                        {
                            "format": wanted,
                            "weights": str(version.folder),
                            "folder": str(folder),
                        }
                    )
                return await _ended(exports, wanted, told)
            except BaseException:
                await _in_thread(exports.drop, wanted)
                raise


EXPORTER = web.AppKey("exporter", Exporter)


def exports_of(version: WeightsVersion) -> VersionExports:
    """Those of a version whose files are on this disk."""
    return VersionExports(version.folder.parent)


def has_safetensors(version: WeightsVersion) -> bool:
    return any(Path(str(file["path"])).suffix == ".safetensors" for file in version.files)


@asynccontextmanager
async def _within(limit_s: float | None, wanted: str) -> AsyncIterator[None]:
    """Raises DeadlineExceeded for the time of a request; None: it has said none."""
    try:
        async with asyncio.timeout(limit_s) as time:
            yield
    except TimeoutError:
        if not time.expired():  # another's: of a network disk, say
            raise
        raise DeadlineExceeded(
            f"The export {wanted!r} was not made within the time of the request's "
            "X-Request-Timeout, in which it may have waited for the model's other exports."
        ) from None


def _own_files(exports: VersionExports) -> dict[str, Any]:
    if not exports.link_files(SAFETENSORS, ".safetensors"):
        raise InvalidArguments(
            {"format": ["These weights have no .safetensors file that could be handed out."]}
        )
    return {"max_difference": 0.0, "samples": 0}


async def _ended(exports: VersionExports, wanted: str, told: Mapping[str, Any]) -> Export:
    """The export of what the model wrote, read and packed. A file may be of any size, and holes of
    a disk's: it has a limit, and the server's end does not wait for it. Raises DeadlineExceeded.
    """
    stop = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(exports.end, wanted, told, stop.is_set))
    try:
        async with asyncio.timeout(_PACKING_S) as time:
            return await asyncio.shield(work)
    except TimeoutError:
        if not time.expired():
            raise
        raise DeadlineExceeded(
            f"The files of the export {wanted!r} were not read and packed within {_PACKING_S:g} s."
        ) from None
    finally:
        stop.set()
        with suppress(Exception, asyncio.CancelledError):
            await asyncio.shield(work)  # what it writes is removed next


async def _in_thread(work: Callable[[str], None], name: str) -> None:
    """Also while being cancelled: what was begun is to be gone."""
    with suppress(asyncio.CancelledError):
        await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(work, name)))
