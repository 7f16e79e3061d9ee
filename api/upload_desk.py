"""Uploads that came in parts become datasets: what is under way, and what became of it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from ..errors import Conflict, InvalidArguments, ModelyardError, UploadNotFound
from ..storage.datasets.naming import name_from
from ..storage.datasets.service import Datasets, Incoming
from ..storage.datasets.taking import Item
from ..storage.datasets.uploads import Upload, Uploads

log = logging.getLogger(__name__)

SWEPT_EVERY_S = 3600.0
BUSY = "The upload is being taken in: ask for it again in a moment."


class _Work:
    """One upload that is being taken in."""

    def __init__(self) -> None:
        self.progress: tuple[int, int] | None = None
        self.task: asyncio.Task[Upload] | None = None
        self.error: str | None = None

    @property
    def under_way(self) -> bool:
        return self.task is not None and not self.task.done()


class UploadDesk:
    """Uploads that came in parts become datasets. What is under way is known to this server only:
    after a restart an upload whose parts are all there can be completed again. Every `every_s`
    seconds those go that nobody went on with."""

    def __init__(
        self, uploads: Uploads, datasets: Datasets, every_s: float = SWEPT_EVERY_S
    ) -> None:
        self.uploads = uploads
        self._every_s = every_s
        self._sweeping: asyncio.Task[None] | None = None
        self._datasets = datasets
        self._work: dict[str, _Work] = {}
        self._leaving: set[str] = set()

    async def start(self) -> None:
        """Removes uploads that nobody went on with."""
        await asyncio.to_thread(self.uploads.remove_stale)
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def close(self) -> None:
        """Gives up what is under way; the parts stay."""
        tasks: list[asyncio.Task[Any]] = [] if self._sweeping is None else [self._sweeping]
        tasks += [work.task for work in self._work.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def state(self, upload: Upload) -> dict[str, Any]:
        """`state`, `progress` and `error` of an upload, as clients see them."""
        work = self._work.get(upload.id)
        state, progress, error = "receiving", None, None
        if upload.dataset is not None:
            state = "done"
        elif work is not None and work.under_way:
            state, progress = "ingesting", work.progress
        elif work is not None and work.error is not None:
            state, error = "failed", work.error
        told = None if progress is None else {"done": progress[0], "total": progress[1]}
        return {"state": state, "progress": told, "error": error}

    def busy(self, upload: Upload) -> bool:
        """True while it is taken in: its parts must not change."""
        work = self._work.get(upload.id)
        return work is not None and work.under_way

    async def complete(self, upload: Upload, wait_s: float) -> Upload | None:
        """The finished upload, or None if that takes longer than `wait_s`: it goes on.

        Raises what taking it in raises, and UploadNotFound if it was given up meanwhile.
        """
        if upload.dataset is not None:
            return upload
        if upload.id in self._leaving:
            raise UploadNotFound("There is no such upload any more.")
        work = self._work.get(upload.id)
        if work is None or not work.under_way:
            work = self._work[upload.id] = _Work()
            work.task = asyncio.ensure_future(self._take_in(upload, work))
            work.task.add_done_callback(_seen)
        assert work.task is not None
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(work.task)
        except TimeoutError:
            return None

    async def remove(self, upload: Upload) -> None:
        """Gives it up. Raises Conflict while it is taken in, and UploadNotFound."""
        if self.busy(upload):
            raise Conflict(BUSY)
        self._leaving.add(upload.id)
        try:
            await asyncio.shield(asyncio.to_thread(self.uploads.remove, upload.id))
        finally:
            self._leaving.discard(upload.id)
        self._work.pop(upload.id, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                for upload_id in await asyncio.to_thread(self.uploads.stale):
                    with suppress(Conflict, UploadNotFound):  # gone on with, or gone
                        upload = await asyncio.to_thread(self.uploads.get, upload_id)
                        await self.remove(upload)
                        log.info("the upload %s is given up: no part came for a week", upload_id)
            except OSError as error:
                log.warning("uploads that nobody went on with are not removed: %s", error)

    async def _take_in(self, upload: Upload, work: _Work) -> Upload:
        def tell(done: int, total: int) -> None:
            work.progress = (done, total)

        # As it is now that nobody removes it: it was read before.
        try:
            upload = await asyncio.to_thread(self.uploads.get, upload.id)
        except UploadNotFound:
            self._work.pop(upload.id, None)
            raise
        if upload.dataset is not None:
            self._work.pop(upload.id, None)
            return upload
        paths = await asyncio.to_thread(self.uploads.paths, upload)
        incoming = Incoming(
            [Item(paths, upload.filename, keep=True)],
            name=upload.name or name_from(upload.filename),
            model=upload.model,
            sha256=upload.sha256,
            principal=upload.principal,
            source={"kind": "upload", "filename": upload.filename, "size": upload.size},
        )
        try:
            record, created = await self._datasets.add(incoming, tell)
            done = await asyncio.to_thread(self.uploads.finish, upload, record.id, created)
        except (ModelyardError, OSError) as error:
            work.error = _in_words(error)
            raise
        self._work.pop(upload.id, None)
        return done


def _in_words(error: Exception) -> str:
    if isinstance(error, InvalidArguments):
        return "; ".join(f"{name}: {' '.join(told)}" for name, told in error.errors.items())
    return str(error)


def _seen(task: asyncio.Task[Upload]) -> None:
    if not task.cancelled():
        task.exception()  # told by the upload's state; the client that waited may be gone
