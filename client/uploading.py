"""An upload in parts: sent by several requests at once, and taken up again where it stopped.

Which upload of the server belongs to which files is remembered in a small file of this machine; it
is the server that is asked which parts it has. Each part goes with its SHA-256 (RFC 9530).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .bodies import CallBody
from .calls import new_key
from .content import Content, ContentBody, Progress, sha256_of
from .datasets import Dataset, Upload
from .errors import ClientError, NotFound, RequestRefused, UnexpectedAnswer
from .transport import Call, Transport, path_of

T = TypeVar("T")
Watch = Callable[[Upload], None]
"""Called with what the server does with an upload that is complete. Runs in the client's loop."""

_AT_ONCE = 3
"""Parts under way at the same time: the server writes one to its disk while the next one comes."""
_ASK_EVERY_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_HOPELESS = (400, 413, 415, 422)
"""Refusals of a complete upload that sending the same bytes again would not change."""


class UploadMemory:
    """Remembers the ids of uploads that have not ended. `folder` is made when it is needed.

    What cannot be written is not remembered: an interrupted upload then begins anew.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _default_folder()

    def find(self, key: str) -> str | None:
        try:
            told = json.loads(self._path(key).read_text())
        except (OSError, ValueError):
            return None
        return str(told["upload"]) if isinstance(told, dict) and "upload" in told else None

    def keep(self, key: str, upload_id: str) -> None:
        path = self._path(key)
        part = path.with_name(f".{uuid.uuid4().hex}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_text(json.dumps({"upload": upload_id}))
            part.replace(path)

    def forget(self, key: str) -> None:
        with suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _default_folder() -> Path:
    """As the XDG base directory specification has it for what outlives a program's run."""
    state = os.environ.get("XDG_STATE_HOME")
    root = Path(state) if state else Path.home() / ".local" / "state"
    return root / "modelyard" / "uploads"


class PartsUpload:
    """One content on its way to one server. `patience_s` is for how long without any success lost
    connections are made again; `query` may hold `name` and `model`."""

    def __init__(
        self,
        transport: Transport,
        content: Content,
        query: dict[str, str],
        memory: UploadMemory,
        patience_s: float,
        progress: Progress | None,
        watch: Watch | None,
    ) -> None:
        self._transport, self._content, self._query = transport, content, query
        self._memory, self._patience_s = memory, patience_s
        self._progress, self._watch = progress, watch
        words = json.dumps([transport.url, content.fingerprint, sorted(query.items())])
        self._key = hashlib.sha256(words.encode()).hexdigest()
        self._whole = 0
        self._under_way: dict[int, int] = {}
        self._good_until = 0.0

    async def run(self) -> Dataset:
        """The dataset that became of it. Raises ClientError's family, OSError."""
        upload = await self._found() or await self._begun()
        if upload.state == "receiving":
            await self._send_missing(upload)
        return await self._completed(upload)

    # -- beginning --------------------------------------------------------------------------------

    async def _found(self) -> Upload | None:
        """The upload that was interrupted, if the server still has it."""
        known = self._memory.find(self._key)
        if known is None:
            return None
        try:
            upload = await self._ask(known)
        except NotFound:
            self._memory.forget(self._key)
            return None
        return upload if upload.size == self._content.size else None

    async def _begun(self) -> Upload:
        body = {"filename": self._content.filename, "size": self._content.size, **self._query}
        path = path_of("v2", "datasets", "uploads", "")
        call = Call("POST", path, headers=new_key(), body=CallBody(body))
        upload = Upload.from_data(await self._transport.json(call))
        if upload.part_size < 1:
            raise UnexpectedAnswer("The server's answer is no upload.")
        self._memory.keep(self._key, upload.id)
        return upload

    async def _ask(self, upload_id: str) -> Upload:
        call = Call("GET", path_of("v2", "datasets", "uploads", upload_id))
        return Upload.from_data(await self._patiently(lambda: self._transport.json(call)))

    # -- sending ----------------------------------------------------------------------------------

    async def _send_missing(self, upload: Upload) -> None:
        there = set(upload.parts)
        left = deque(n for n in range(1, upload.part_count + 1) if n not in there)
        self._whole = sum(self._range(upload, number)[1] for number in there)
        self._tell()

        async def send_all() -> None:
            while left:
                await self._send(upload, left.popleft())

        sending = [asyncio.ensure_future(send_all()) for _ in range(min(_AT_ONCE, len(left)))]
        try:
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _send(self, upload: Upload, number: int) -> None:
        offset, length = self._range(upload, number)
        digest = await asyncio.to_thread(sha256_of, self._content, offset, length)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        }

        def told(sent: int) -> None:
            self._under_way[number] = sent
            self._tell()

        async def send() -> None:
            path = path_of("v2", "datasets", "uploads", upload.id, "parts", str(number))
            body = ContentBody(self._content, headers, told, offset, length)
            async with self._transport.open(Call("PUT", path, body=body)) as response:
                await response.read()

        try:
            await self._patiently(send)
            self._whole += length
        finally:
            self._under_way.pop(number, None)
        self._tell()

    def _range(self, upload: Upload, number: int) -> tuple[int, int]:
        offset = (number - 1) * upload.part_size
        return offset, min(upload.part_size, upload.size - offset)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._whole + sum(self._under_way.values()), self._content.size)

    # -- the end ----------------------------------------------------------------------------------

    async def _completed(self, upload: Upload) -> Dataset:
        """Has the server make a dataset of it, and waits for that."""
        while upload.state != "done":
            if upload.state == "ingesting":
                await asyncio.sleep(_ASK_EVERY_S)
                upload = await self._ask(upload.id)
                if upload.state == "failed":
                    raise RequestRefused(upload.error or "The server cannot take it in.")
            else:
                upload = await self._complete(upload)
            if self._watch is not None:
                self._watch(upload)
        call = Call("GET", path_of("v2", "datasets", upload.dataset or ""))
        made = await self._patiently(lambda: self._transport.json(call))
        self._memory.forget(self._key)
        return Dataset.from_data(made, upload.created)

    async def _complete(self, upload: Upload) -> Upload:
        path = path_of("v2", "datasets", "uploads", upload.id, "complete")
        call = Call("POST", path, idempotent=True, streamed=True)
        try:
            await self._patiently(lambda: self._watched(upload, call))
        except RequestRefused as error:
            if error.status in _HOPELESS:
                await self._give_up(upload)
            raise
        return await self._ask(upload.id)

    async def _watched(self, upload: Upload, call: Call) -> None:
        """The server answers when it has done it, or after a while: it is asked meanwhile."""
        asked = asyncio.ensure_future(self._transport.json(call))
        try:
            while self._watch is not None:
                if (await asyncio.wait([asked], timeout=_ASK_EVERY_S))[0]:
                    break
                with suppress(ClientError):
                    self._watch(await self._ask(upload.id))
            await asked
        finally:
            asked.cancel()

    async def _give_up(self, upload: Upload) -> None:
        self._memory.forget(self._key)
        with suppress(ClientError):
            call = Call("DELETE", path_of("v2", "datasets", "uploads", upload.id))
            async with self._transport.open(call):
                pass

    # -- patience ---------------------------------------------------------------------------------

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Again while connections are lost, also through a restart of the server."""
        loop = asyncio.get_running_loop()
        self._good_until = max(self._good_until, loop.time() + self._patience_s)
        pause = _FIRST_PAUSE_S
        while True:
            try:
                done = await work()
            except ClientError as error:
                if not Transport.is_lost(error) or loop.time() > self._good_until:
                    raise
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_S, 2 * pause)
            else:
                self._good_until = loop.time() + self._patience_s
                return done
