"""Reading the records of runs: one, a page, all. Runs in the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from sqlalchemy import Connection

from ..errors import InvalidArguments, RunNotFound
from ..records.idempotency import find_sent
from ..records.paging import cursor_after, seq_of
from ..records.runs import RunRecord, find_run, page_of_runs, phases_of_untidied
from ..records.store import RecordStore
from ..schemas.states import Phase, Status
from .replays import key_hash, sent_digest
from .submission import Asked

_PAGE = 500


class RunListing:
    """The reading half of the run service. The order is that of submission, whatever clocks say."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def get(self, model: str, run_id: str) -> RunRecord:
        """The run of this model. Raises RunNotFound."""
        record = await self._store.read(lambda c: find_run(c, run_id, model))
        if record is None:
            raise RunNotFound(f"The model {model} has no run {run_id!r}. Ids have 32 hex digits.")
        return record

    async def repeated(
        self, model: str, key: str | None, principal: str, asked: Asked
    ) -> RunRecord | None:
        """The run that the same request made before, with this Idempotency-Key and byte by byte."""
        if key is None:
            return None
        hashed = key_hash(key, principal, model)
        sent = await asyncio.to_thread(sent_digest, key, asked.whole, None, asked.named)

        def work(connection: Connection) -> RunRecord | None:
            run_id = find_sent(connection, hashed, sent, datetime.now(UTC))
            return None if run_id is None else find_run(connection, run_id)

        return await self._store.read(work)

    async def pages(
        self, model: str, size: int = _PAGE, status: Status | str | None = None
    ) -> AsyncIterator[list[RunRecord]]:
        """All records, oldest first, `size` at a time: others are served in between."""
        wanted, beyond = _status(status), None
        while True:
            page = await self._store.read(
                lambda c, beyond=beyond: page_of_runs(  # type: ignore[misc]
                    c, model, limit=size, newest_first=False, beyond=beyond, status=wanted
                )
            )
            if page:
                yield page
            if len(page) < size:
                return
            beyond = page[-1].seq

    async def list(
        self,
        model: str,
        limit: int | None = None,
        cursor: str | None = None,
        status: Status | str | None = None,
    ) -> tuple[list[RunRecord], str | None]:
        """Without `limit` all records, oldest first; with it a page, newest first.

        The second value is the cursor of the next page, None on the last one. Raises
        InvalidArguments for a cursor or status that is none.
        """
        if limit is None:
            return [
                record async for page in self.pages(model, _PAGE, status) for record in page
            ], None
        wanted, beyond = _status(status), seq_of(cursor)
        found = await self._store.read(
            lambda c: page_of_runs(
                c, model, limit=limit + 1, newest_first=True, beyond=beyond, status=wanted
            )
        )
        page = found[:limit]
        return page, cursor_after(page[-1].seq) if len(found) > limit else None

    async def phases(self) -> dict[Phase, int]:
        """How many runs are in each phase, those that are gone left out."""
        return await self._store.read(phases_of_untidied)

    async def _find(self, run_id: str) -> RunRecord:
        record = await self._store.read(lambda c: find_run(c, run_id))
        if record is None:
            raise RunNotFound(f"There is no run {run_id!r}.")
        return record


def _status(status: Status | str | None) -> Status | None:
    if status is None:
        return None
    try:
        return Status(status)
    except ValueError:
        words = ", ".join(one.value for one in Status)
        raise InvalidArguments({"status": [f"Must be one of: {words}."]}) from None
