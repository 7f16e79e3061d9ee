"""Idempotency-Key: a request that is sent again makes nothing again, and gets the same answer.

A route that creates is declared by `creates` (`api/route.py`). What a request makes gets the id
that was chosen for its key before (`thing_of`), or is committed together with a mark (`committed`):
so a repeat finds it, also if the server was killed before it could answer. Trainings have a table
of their own (`training/replays.py`), whose answer is the record as it is now.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ..errors import Busy, InvalidArguments, StorageUnavailable
from ..records import answers as records
from ..records.answers import KeptAnswer
from ..records.store import RecordStore
from ..schemas.transport import RequestData
from ..turns import Turns
from .access.deeds import carry_out
from .access.principal import principal_of
from .responses import own
from .services import services

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
KEY = f"(?=.{{1,{LONGEST_KEY}}}$)[!-~]([ -~]*[!-~])?"
"""A pattern: other bytes mean one thing to this client's library and another to the next one's."""
_KEPT_HEADERS = ("Content-Type", "Location")

Work = Callable[[], Awaitable[web.StreamResponse]]


def idempotency_key(request: web.Request) -> str | None:
    """The client's key, if it gave one. Raises InvalidArguments."""
    key = request.headers.get(HEADER)
    if key is not None and not re.fullmatch(KEY, key):
        raise InvalidArguments({HEADER: [f"Give 1 to {LONGEST_KEY} printable ASCII characters."]})
    return key


class Repeats:
    """The keyed requests of one application: under way, and answered in the last 24 hours."""

    def __init__(self) -> None:
        self._locks = Turns()
        self._tasks: set[asyncio.Task[web.StreamResponse]] = set()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`, after what the handlers work with: what is under way ends before."""
        yield
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def once(self, request: web.Request, given: Any, work: Work) -> web.StreamResponse:
        """The answer of `work`, or of an earlier one for the same key and the same `given`.

        Without a key just `work`. With one it goes on if the client hangs up, and a repeat waits
        for it; what fails leaves the key free. Raises IdempotencyConflict, what `work` raises, and
        Busy while the server stops.
        """
        key = idempotency_key(request)
        if key is None:
            return await work()
        scope = [principal_of(request).name, request.method, request.path.rstrip("/"), key]
        hashed = hashlib.sha256(json.dumps(scope).encode()).hexdigest()
        text = json.dumps(given, sort_keys=True, default=str)
        digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
        task = asyncio.ensure_future(self._once(request, hashed, digest, work))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            return await carry_out(request, task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Busy("The server is stopping.") from None
            raise

    def _done(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, should its client have gone

    async def _once(
        self, request: web.Request, key: str, digest: str, work: Work
    ) -> web.StreamResponse:
        store = services(request).store
        async with self._locks.hold(key):
            known = await store.write(
                lambda c: records.begin_answer(c, key, digest, datetime.now(UTC))
            )
            if known.status is not None:
                told = web.Response(status=known.status, body=known.body, headers=known.headers)
                return own(told)
            request[KNOWN] = known
            try:
                answer = await work()
            except BaseException:
                await _unharmed(store, lambda c: records.forget_answer(c, key))
                raise
            assert isinstance(answer, web.Response)  # nothing that creates streams its answer
            headers = {n: answer.headers[n] for n in _KEPT_HEADERS if n in answer.headers}
            body = bytes(answer.body or b"")  # type: ignore[arg-type]
            await _unharmed(
                store, lambda c: records.keep_answer(c, key, answer.status, headers, body)
            )
            return answer


REPEATS = web.AppKey("repeats", Repeats)
KNOWN = web.RequestKey("known_answer", KeptAnswer)


async def _unharmed(store: RecordStore, work: records.Work) -> None:
    """What is done is done, and told: without this row a repeat does it over, under the same id."""
    with suppress(StorageUnavailable):
        await asyncio.shield(asyncio.ensure_future(store.write(work)))


async def once(request: web.Request, given: Any, work: Work) -> web.StreamResponse:
    """See `Repeats.once`."""
    return await request.config_dict[REPEATS].once(request, given, work)


def thing_of(request: web.Request) -> str:
    """The id for what this request makes: the same for each repeat with its key."""
    known = request.get(KNOWN)
    return uuid.uuid4().hex if known is None else known.thing


def done_before(request: web.Request) -> bool:
    """True if an earlier request with this key has done it, and the server ended before it could
    answer."""
    known = request.get(KNOWN)
    return known is not None and known.done


def committed(request: web.Request) -> records.Work:
    """To be called in the transaction that does what the request asks for."""
    return records.done_with(request.get(KNOWN))


def files_given(data: RequestData) -> list[tuple[str, str, str, str]]:
    """What came as files, by its content; read with `hash_files`."""
    parts = [*data.files, *([data.raw] if data.raw is not None else [])]
    return [(part.field, part.filename, part.content_type, part.sha256) for part in parts]
