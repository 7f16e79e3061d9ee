"""JSON lines to `predict/`: each line is a call of its own, and answers stream back as they finish.

A line goes through the dispatcher like any other call, so that lines are put together in batches
with each other and with the calls of other clients. Runs in the front.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from ..clearing import remove_tree
from ..errors import (
    Busy,
    InvalidArguments,
    InvalidRequest,
    ModelUnavailable,
    ModelyardError,
    NotSupported,
    NoWeights,
    TooLarge,
)
from ..models_plugin.answers import JSON
from ..schemas.transport import LINES, RequestData
from ..serving.messages import Prediction
from .access.staying import Stay
from .body import CHUNK, TEXT_LIMIT, UNREADABLE, SizeLimit, why_unreadable
from .discretion import discreet
from .errors import error_response
from .outbox import Outbox
from .port.handler import between_lines
from .services import services
from .terms import Terms
from .unpacked import body_of

AT_ONCE = 64
"""Lines of one request that are under way at the same time: two batches of the usual size."""
BYTES_AT_ONCE = 64 * 1024**2
_OF_ALL_LINES = (NotSupported, NoWeights, ModelUnavailable)
"""Errors that every line would have: before the first answer they are the request's own."""
_RETRY_S = 0.5
_LINES_PACKED = 1000
"""Lines that a packed body may have in any case; beyond that, one for each packed byte: each line
is a call, and 6 kB of gzip held two million."""


async def predict_lines(request: web.Request, terms: Terms, folder: Path) -> web.StreamResponse:
    """One answer for each line. Raises what is wrong with the request as a whole."""
    head = terms.reader(folder).head()
    if any(kind in head.accept for kind in LINES):
        head.accept = "*/*"  # it says what the lines stand in, not what stands in them
    await terms.choose()
    terms.settle(head)
    most = services(request).settings.client_calls
    stream = _Stream(request, terms, head, folder, min(AT_ONCE, most or AT_ONCE))
    try:
        return await stream.answered()
    except BaseExceptionGroup as group:
        raise _first(group) from None


class _Stream:
    """The lines of one request. Cancelling it cancels the calls that are under way."""

    def __init__(
        self, request: web.Request, terms: Terms, head: RequestData, folder: Path, most: int
    ) -> None:
        self._request = request
        self._stay = Stay(request)
        self._terms = terms
        self._head = head
        self._folder = folder
        self._limit = SizeLimit(request, services(request).settings.client_max_size)
        self._stopping = services(request).stopping
        self._outbox = Outbox(request, LINES[0], folder)
        self._places = asyncio.Semaphore(most)
        self._large = asyncio.Lock()
        self._size = 0
        self._shrunk = asyncio.Event()
        self._index = 0
        self._loop = asyncio.get_running_loop()

    async def answered(self) -> web.StreamResponse:
        async with asyncio.TaskGroup() as sending:
            sent = sending.create_task(self._outbox.send())
            async with asyncio.TaskGroup() as calls:
                await self._read(calls)
            self._outbox.finish()
        return sent.result()

    async def _read(self, calls: asyncio.TaskGroup) -> None:
        """Starts a call for each line until they end, or the server is to stop."""
        reading = calls.create_task(self._start_all(calls))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not reading.done():
            reading.cancel()
            told = "The server is stopping: from here on no line was read."
            await self._tell(self._index, ModelUnavailable(told, 5.0))

    async def _start_all(self, calls: asyncio.TaskGroup) -> None:
        try:
            async for line in _lines(self._request, self._limit):
                refusal = await self._stay.refusal()
                if refusal is not None:
                    raise refusal
                packed = self._limit.packed
                if packed is not None and self._index >= max(_LINES_PACKED, packed):
                    raise TooLarge(
                        f"The packed body has more lines than {_LINES_PACKED}, and than it has "
                        "packed bytes: send the lines as they are.",
                        limit=max(_LINES_PACKED, packed),
                    )
                index, self._index = self._index, self._index + 1
                if line is None:
                    told = f"The line is longer than {TEXT_LIMIT} bytes."
                    await self._tell(index, TooLarge(told, limit=TEXT_LIMIT))
                    continue
                await self._places.acquire()
                while self._size and self._size + len(line) > BYTES_AT_ONCE:
                    self._shrunk.clear()
                    await self._shrunk.wait()
                self._size += len(line)
                calls.create_task(self._call(index, line))
        except ModelyardError as error:  # of the request itself: what came before is answered
            await self._tell(self._index, error)

    async def _call(self, index: int, line: bytes) -> None:
        folder = self._folder / str(index)
        try:
            prediction = await self._ask(line, folder)
        except ModelyardError as error:
            if isinstance(error, _OF_ALL_LINES) and not self._outbox.begun:
                raise
            await self._tell(index, error)
        else:
            await self._answer(index, prediction, folder)
        finally:
            self._size -= len(line)
            self._shrunk.set()
            self._places.release()

    async def _ask(self, line: bytes, folder: Path) -> Prediction:
        """A full queue is no answer here: the line waits, and with it those that follow."""
        until = self._loop.time() + self._terms.limit_s
        while True:
            left = until - self._loop.time()
            try:
                return await self._terms.ask(replace(self._head, body=line), folder, left)
            except ModelUnavailable:
                raise
            except Busy as error:
                wait = min(error.retry_after_s, _RETRY_S)
                if self._loop.time() + wait >= until:
                    raise
                await asyncio.sleep(wait)

    async def _answer(self, index: int, prediction: Prediction, folder: Path) -> None:
        if prediction.path is None:
            await self._outbox.put(_answer_line(index, prediction, prediction.body))
            return
        async with self._large:  # one of these in memory at a time
            body = await asyncio.to_thread(Path(prediction.path).read_bytes)
            await asyncio.to_thread(remove_tree, folder)
            await self._outbox.put(_answer_line(index, prediction, body))

    async def _tell(self, index: int, error: ModelyardError) -> None:
        await self._outbox.put(_error_line(index, discreet(self._request, error)))


async def _lines(request: web.Request, limit: SizeLimit) -> AsyncIterator[bytes | None]:
    """Lines that are not empty, as they come; None for one that is too long.

    Raises TooLarge (of the whole) and InvalidRequest.
    """
    kept, too_long, size = bytearray(), False, 0
    try:
        async with body_of(request) as content:
            async for chunk in content.iter_chunked(CHUNK):
                size += len(chunk)
                limit.check(size)
                *ends, rest = chunk.split(b"\n")
                for end in ends:
                    line = (bytes(kept) + end if kept else end).strip()
                    kept.clear()
                    if too_long or len(line) > TEXT_LIMIT:
                        yield None
                    elif line:
                        yield line
                    too_long = False
                if not too_long:
                    kept += rest
                    if len(kept) > TEXT_LIMIT:
                        too_long = True
                        kept.clear()
                between_lines(request, not rest)
    except UNREADABLE as error:  # of the reader
        raise InvalidRequest(f"The body cannot be read further: {why_unreadable(error)}") from error
    if too_long or kept.strip():
        yield None if too_long else bytes(kept.strip())


def _answer_line(index: int, prediction: Prediction, body: bytes) -> bytes:
    weights = b'"weights":"%s",' % prediction.weights_id.encode() if prediction.weights_id else b""
    start = b'{"index":%d,"status":200,%s' % (index, weights)
    if prediction.content_type == JSON:
        # A line feed in JSON is white space, wherever it stands: in a text it would be escaped.
        return b'%s"answer":%s}\n' % (start, body.replace(b"\n", b" ") if b"\n" in body else body)
    kind = prediction.content_type.replace("\\", "").replace('"', "'").encode()
    return b'%s"content_type":"%s","base64":"%s"}\n' % (start, kind, base64.b64encode(body))


def _error_line(index: int, error: ModelyardError) -> bytes:
    """Arguments' errors as `errors`, all others as `problem`: the bodies that a call would get."""
    response = error_response(error)
    word = b"errors" if isinstance(error, InvalidArguments) else b"problem"
    body = response.body
    assert isinstance(body, bytes)
    return b'{"index":%d,"status":%d,"%s":%s}\n' % (index, response.status, word, body)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a group of tasks: the rest was cancelled with it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
