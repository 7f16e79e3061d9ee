"""The front's side of one ingest process: two steps, and its progress. Runs in the front.

A process that dies (killed, out of memory) fails its dataset and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import StorageUnavailable
from ...seclusion import plain_environment
from ...standstill import end, watched
from ..wire import decode, encode, error_from
from .taking import Item, Progress

_LINE_LIMIT = 1 << 20
_CLOSE_S = 5.0


@dataclass(frozen=True)
class Content:
    """What came, unpacked and hashed. `counts` are by folder and suffix; `folder` holds the files
    until the dataset is sealed or let go."""

    digest: str
    files: int
    size: int
    counts: Mapping[str, Any]
    unpacked: bool
    folder: Path


class Ingestion:
    """Used as `async with`: on leaving, what was not sealed is gone, and the process too.

    `root` is the folder of all datasets; `log` takes what the process prints.
    """

    def __init__(self, root: Path, dataset_id: str, log: Path, progress: Progress) -> None:
        self._target = root / dataset_id
        self._folder = root / f".ingest-{dataset_id}"
        self._log = log
        self._progress = progress
        self._process: Process | None = None
        self._asked = False

    async def __aenter__(self) -> Ingestion:
        with self._log.open("ab") as output:
            try:
                # On the event loop's own thread: the process gets PR_SET_PDEATHSIG, which fires
                # when the *thread* that forked it ends (prctl(2)).
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "modelyard.storage.datasets.ingest"),
                    *("--parent", str(os.getpid())),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=output,
                    env=plain_environment(os.environ),  # no credentials are its business
                    start_new_session=True,
                    limit=_LINE_LIMIT,
                )
            except OSError as error:
                raise StorageUnavailable(
                    f"The process that takes datasets in cannot be started: {error.strerror}."
                ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.close()
        if self._asked:  # it works on something that nobody waits for any more
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        try:
            await asyncio.wait_for(process.wait(), _CLOSE_S)
        except (TimeoutError, asyncio.CancelledError):
            await end(process)
        if self._folder.exists():
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def take(self, items: Sequence[Item], sha256: str | None = None) -> Content:
        """Unpacks and hashes. Raises BadArchive, InvalidArguments for another hash than `sha256`,
        DiskFull, StorageUnavailable."""
        files = [{"parts": [str(part) for part in i.parts], "name": i.name} for i in items]
        keep = any(item.keep for item in items)
        order = {"folder": str(self._folder), "files": files, "keep": keep, "sha256": sha256}
        taken = (await self._ask(order, "taken"))["taken"]
        return Content(
            digest=taken["digest"],
            files=taken["files"],
            size=taken["size"],
            counts=taken["counts"],
            unpacked=taken["unpacked"],
            folder=self._folder / "files",
        )

    async def seal(self, manifest: Mapping[str, Any], relatives: Sequence[Path]) -> None:
        """Makes the bundle, at its place, whole and durable; files that one of the bundles
        `relatives` has are shared with it. Raises DiskFull, StorageUnavailable."""
        folders = [str(folder) for folder in relatives]
        second = {"manifest": manifest, "relatives": folders, "target": str(self._target)}
        await self._ask(second, "sealed")

    async def _ask(self, message: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        self._asked = True
        with contextlib.suppress(ConnectionError):  # a process that died is told below
            process.stdin.write(encode(message))
            await process.stdin.drain()
        try:
            with watched(process):
                while line := await process.stdout.readline():
                    answer = decode(line)
                    if "progress" in answer:
                        self._progress(*answer["progress"])
                    elif "error" in answer:
                        self._asked = False
                        raise error_from(answer["error"])
                    elif wanted in answer:
                        self._asked = False
                        return answer
        except ValueError as error:
            raise StorageUnavailable("The process that took the dataset in went wrong.") from error
        raise StorageUnavailable(
            "The process that took the dataset in ended before its work did; nothing was kept."
        )
