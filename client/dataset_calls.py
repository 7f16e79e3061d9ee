"""Datasets: sent, listed, looked at and removed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .bodies import CallBody
from .calls import LONGEST_PAGE, Calls, new_key
from .content import Content, FormBody, Progress, content_of
from .datasets import Dataset, DatasetReport
from .errors import RequestRefused
from .reading import mapping, sequence
from .transport import Call, path_of
from .uploading import PartsUpload, UploadMemory, Watch

PARTS_ABOVE = 64 << 20
"""Bytes above which a dataset is sent in parts."""
_TAKING_IN_S = 600.0
"""The server's silence while it unpacks and reads what came in one request."""
_TOO_LARGE = 413

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class DatasetCalls(Calls):
    """What `AsyncClient` has for datasets."""

    async def add_dataset(
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

        `name` is that of the file or folder unless given; `model` is the one whose reader looks at
        it. Content that is there already under this name is found: `created` is False then. An
        address is fetched by the server, and has to lie below a prefix that it allows.

        What is larger than `parts_above` bytes, or than one request may be, goes in parts. An
        interrupted call goes on with them when it is made again with the same unchanged files: the
        upload is remembered in the folder `memory`, else in $XDG_STATE_HOME/modelyard/uploads.
        `progress` is called with the bytes that are sent; `watch` with what the server does then
        (of uploads in parts).

        Raises ClientError's family, OSError for files that cannot be read.
        """
        chosen = {"name": name, "model": model}
        query = {key: value for key, value in chosen.items() if value is not None}
        if isinstance(source, str) and source.startswith("s3://"):
            return await self._dataset_from(CallBody({"address": source, **query}), {})
        paths = [source] if isinstance(source, str | os.PathLike) else list(source)
        content = await asyncio.to_thread(content_of, paths)
        if content.size <= parts_above:
            try:
                return await self._send_whole(content, query, progress)
            except RequestRefused as error:
                if error.status != _TOO_LARGE or content.size == 0:
                    raise  # else the server takes it in requests that are smaller
        return await PartsUpload(
            self._transport,
            content,
            query,
            UploadMemory(memory),
            self._reconnect_s,
            progress,
            watch,
        ).run()

    async def _send_whole(
        self, content: Content, query: dict[str, str], progress: Progress | None
    ) -> Dataset:
        def told(sent: int) -> None:
            if progress is not None:
                progress(sent, content.size)

        return await self._dataset_from(FormBody(content, told), query)

    async def _dataset_from(self, body: Any, query: Mapping[str, Any]) -> Dataset:
        call = Call(
            "POST",
            path_of("v2", "datasets", ""),
            query=query,
            headers=new_key(),
            body=body,
            streamed=True,
            timeout_s=_TAKING_IN_S,
        )
        async with self._transport.open(call) as response:
            data = await self._transport.json_of(response)
            return Dataset.from_data(data, response.status == 201)

    async def datasets(self, *, name: str | None = None, limit: int | None = None) -> list[Dataset]:
        """Dataset versions, newest first: all or the newest `limit`, of all names or of one."""
        found: list[Dataset] = []
        query: dict[str, Any] = {"limit": min(limit or LONGEST_PAGE, LONGEST_PAGE), "name": name}
        following: dict[str, Any] | None = query
        while following is not None and (limit is None or len(found) < limit):
            data, following = await self._page(path_of("v2", "datasets", ""), following)
            items = sequence(mapping(data, "list of datasets").get("datasets"), "datasets")
            found.extend(Dataset.from_data(item) for item in items)
        return found[:limit]

    async def dataset(self, dataset: str) -> Dataset:
        """One version: by its id, its name (the newest), or `name@number`."""
        return Dataset.from_data(await self._get(path_of("v2", "datasets", dataset)))

    async def dataset_report(self, dataset: str) -> DatasetReport:
        """What the reader of its model found wrong, with file and line."""
        return DatasetReport.from_data(
            await self._get(path_of("v2", "datasets", dataset, "report"))
        )

    async def remove_dataset(self, dataset: str, *, force: bool = False) -> None:
        """Removes a version. Raises Conflict while a run or a weights version refers to it.

        `force`: also if ended runs could still be resumed with it.
        """
        query = {"force": True} if force else {}
        await self._delete(path_of("v2", "datasets", dataset), query)
