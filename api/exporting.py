"""Makes exports of weights versions: one at a time, and each only once. Runs in the front."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from ..errors import Busy, InvalidArguments
from ..storage.exports import Export, VersionExports
from ..storage.weights import WeightsVersion

SAFETENSORS = "safetensors"
"""The one format that needs no plugin: the version's own files."""
LIMIT_S = 600.0
"""Seconds that a model may take for one export."""
_MOST_WAITING = 8


class Performs(Protocol):
    """Has the model write this format of these weights into a folder; what it tells of it."""

    async def __call__(self, parameters: Mapping[str, Any]) -> dict[str, Any]: ...


class Exporter:
    """One of an application. A client that leaves ends no export: the next one finds it made."""

    def __init__(self) -> None:
        self._making: dict[tuple[str, str], asyncio.Task[Export]] = {}
        # An exporter of torch takes a gigabyte: two at a time would be no faster.
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Ends what is under way, processes included."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def make(
        self, version: WeightsVersion, wanted: str, perform: Performs
    ) -> tuple[Export, bool]:
        """The export, and whether it was made now.

        Raises InvalidArguments if the weights have no such form, what the model's process fails
        with, Busy, WeightsNotFound, and OSError (disk full): then nothing of it is left.
        """
        exports = exports_of(version)
        found = await asyncio.to_thread(exports.find, wanted)
        if found is not None:
            return found, False
        key = (version.id, wanted)
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= _MOST_WAITING:
                raise Busy(f"{len(self._making)} exports wait already.", 30.0)
            task = self._making[key] = asyncio.ensure_future(
                self._make(version, exports, wanted, perform)
            )
            task.add_done_callback(lambda done: self._made(key, done))
        try:
            return await asyncio.shield(task), True
        except asyncio.CancelledError:
            if task.cancelled():
                raise Busy("The server is stopping.") from None
            raise

    def _made(self, key: tuple[str, str], task: asyncio.Task[Export]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # looked at, should its client have gone

    async def _make(
        self, version: WeightsVersion, exports: VersionExports, wanted: str, perform: Performs
    ) -> Export:
        async with self._turn:
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
                return await asyncio.to_thread(exports.end, wanted, told)
            except BaseException:
                await _in_thread(exports.drop, wanted)
                raise


EXPORTER = web.AppKey("exporter", Exporter)


def exports_of(version: WeightsVersion) -> VersionExports:
    """Those of a version whose files are on this disk."""
    return VersionExports(version.folder.parent)


def has_safetensors(version: WeightsVersion) -> bool:
    return any(Path(str(file["path"])).suffix == ".safetensors" for file in version.files)


def _own_files(exports: VersionExports) -> dict[str, Any]:
    if not exports.link_files(SAFETENSORS, ".safetensors"):
        raise InvalidArguments(
            {"format": ["These weights have no .safetensors file that could be handed out."]}
        )
    return {"max_difference": 0.0, "samples": 0}


async def _in_thread(work: Callable[[str], None], name: str) -> None:
    """Also while being cancelled: what was begun is to be gone."""
    with suppress(asyncio.CancelledError):
        await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(work, name)))
