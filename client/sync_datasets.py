"""Datasets for programs without an event loop."""

from __future__ import annotations

from pathlib import Path

from .aio import AsyncClient
from .content import Progress
from .dataset_calls import PARTS_ABOVE, Paths
from .datasets import Dataset, DatasetReport
from .loop_thread import LoopThread
from .uploading import Watch


class SyncDatasetCalls:
    """What `Client` has for datasets. Callbacks are called in the client's own thread."""

    _client: AsyncClient
    _loop: LoopThread

    def add_dataset(
        self,
        source: Paths,
        *,
        name: str | None = None,
        model: str | None = None,
        progress: Progress | None = None,
        watch: Watch | None = None,
        parts_above: int = PARTS_ABOVE,
        memory: Path | None = None,
    ) -> Dataset:
        """Sends a dataset: an archive or another file, a folder, several files, or `s3://...`.

        An interrupted upload goes on when this is called again; see `AsyncClient.add_dataset`.
        """
        return self._loop.run(
            self._client.add_dataset(
                source,
                name=name,
                model=model,
                progress=progress,
                watch=watch,
                parts_above=parts_above,
                memory=memory,
            )
        )

    def datasets(self, *, name: str | None = None, limit: int | None = None) -> list[Dataset]:
        """Dataset versions, newest first: all or the newest `limit`, of all names or of one."""
        return self._loop.run(self._client.datasets(name=name, limit=limit))

    def dataset(self, dataset: str) -> Dataset:
        """One version: by its id, its name (the newest), or `name@number`."""
        return self._loop.run(self._client.dataset(dataset))

    def dataset_report(self, dataset: str) -> DatasetReport:
        """What the reader of its model found wrong, with file and line."""
        return self._loop.run(self._client.dataset_report(dataset))

    def remove_dataset(self, dataset: str, *, force: bool = False) -> None:
        """Removes a version. Raises Conflict while a run or a weights version refers to it."""
        self._loop.run(self._client.remove_dataset(dataset, force=force))
