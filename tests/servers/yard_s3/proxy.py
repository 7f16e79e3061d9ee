"""A proxy between a client and an S3 server that breaks what its script says.

It speaks just enough HTTP/1.1: one request at a time on each connection of the client, a new
connection to the server for each, bodies held in memory. It has a thread and a loop of its own.
"""

import asyncio
import re
import threading
from dataclasses import dataclass
from typing import Any

DOWN = "down"
_MIB = 1 << 20
KINDS = {
    "500": "answers 500 InternalError; the server hears nothing",
    "503": "answers 503 SlowDown; the server hears nothing",
    "drop": "closes the connection when the request is read; the server hears nothing",
    "reset_upload": "closes the connection in the middle of the request's body",
    "truncate": "sends half of the answer's body, and closes",
    "hang": "never answers; the server hears nothing",
    "hang_body": "sends half of the answer's body, and then nothing",
    "slow": "sends a mebibyte of the answer's body every quarter of a second",
    "flip_download": "flips one bit of the answer's body",
    "flip_upload": "flips one bit of the request's body",
    "lost_answer": "the server does it, the client hears nothing and the connection closes",
    "odd_etag": "gives every object an ETag that is not the MD5 of its bytes",
    DOWN: "closes every connection",
}


@dataclass
class Fault:
    """What to break: requests of `method` (any) whose target holds `match`, from the `skip`th on,
    `times` times (None: until it is taken away)."""

    kind: str
    method: str | None = None
    match: str = ""
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    def takes(self, method: str, target: str) -> bool:
        if self.method not in (None, method) or self.match not in target:
            return False
        self.skip -= 1
        if self.skip >= 0 or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


class FaultProxy:
    """Listens on a free port at once; `port` tells it. Give `add` a fault by its kind."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.requests: list[tuple[str, str]] = []
        """Method and target of what came."""
        self._script: list[Fault] = []
        self._hung: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def add(self, kind: str, method: str | None = None, match: str = "", **more: Any) -> Fault:
        """Adds a fault to the script; of several the first that fits is taken."""
        assert kind in KINDS, kind
        fault = Fault(kind, method, match, **more)
        self._script.append(fault)
        return fault

    def first(self, kind: str, method: str | None = None, match: str = "", **more: Any) -> Fault:
        """Like `add`, before those that are there."""
        fault = self.add(kind, method, match, **more)
        self._script = [fault, *self._script[:-1]]
        return fault

    def clear(self) -> None:
        """The faults end; what hangs already hangs on."""
        self._script = []

    def let_go(self) -> None:
        """Closes the connections that hang."""
        for task in list(self._hung):
            self._loop.call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one connection -------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Passes one request on and its answer back. False: the connection has ended."""
        line, headers = await _head(reader)
        method, target, _ = line.split(" ", 2)
        self.requests.append((method, target))
        fault = next((f.kind for f in list(self._script) if f.takes(method, target)), None)
        if fault == DOWN:
            return False
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length") or 0)
        if fault == "reset_upload":
            await reader.readexactly(length // 2)
            return False
        body = await reader.readexactly(length)
        if fault == "flip_upload":
            body = _flipped(body)
        if fault == "hang":
            await self._hang()
        if fault == "drop":
            return False
        if fault in ("500", "503"):
            answer, body = _error(fault)
        else:
            answer, body = await self._ask(line, headers, body, method == "HEAD")
        if fault == "odd_etag" and "partNumber" not in target:  # those of parts are sent back
            answer = re.sub(rb'(?i)(\r\netag: "?)[0-9a-f]{4}', rb"\g<1>0dd0", answer)
        passed_on = await _reply(writer, fault, answer, body)
        if fault == "hang_body":
            await self._hang()
        return passed_on

    async def _hang(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._hung.add(task)
        try:
            await asyncio.sleep(3600)
        finally:
            self._hung.discard(task)

    async def _ask(
        self, line: str, headers: dict[str, str], body: bytes, head: bool
    ) -> tuple[bytes, bytes]:
        """The server's answer: its head, rewritten for a body of known length, and its body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            sent = {k: v for k, v in headers.items() if k not in ("expect", "connection")}
            lines = [line, *(f"{name}: {value}" for name, value in sent.items())]
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))
            writer.write(body)
            await writer.drain()
            status, got = await _head(reader)
            while status.split(" ")[1] == "100":
                status, got = await _head(reader)
            data = b"" if head else await _body(reader, got, status)
        finally:
            writer.close()
        own = ("connection", "transfer-encoding", "content-length")
        lines = [status, *(f"{n}: {v}" for n, v in got.items() if n not in own)]
        size = got.get("content-length", "0") if head else str(len(data))
        if status.split(" ")[1] != "204":
            lines.append(f"content-length: {size}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), data


async def _reply(
    writer: asyncio.StreamWriter, fault: str | None, answer: bytes, body: bytes
) -> bool:
    if fault == "lost_answer":
        return False
    if fault == "flip_download":
        body = _flipped(body)
    half = fault in ("truncate", "hang_body")
    writer.write(answer)
    while fault == "slow" and len(body) > _MIB:
        writer.write(body[:_MIB])
        body = body[_MIB:]
        await asyncio.sleep(0.25)
    writer.write(body[: len(body) // 2] if half else body)
    await writer.drain()
    if fault == "truncate":
        writer.close()
        await writer.wait_closed()
    return not half


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.split("\r\n")
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return first, {name.strip().lower(): value.strip() for name, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], status: str) -> bytes:
    if status.split(" ")[1] in ("204", "304"):
        return b""
    if "chunked" in headers.get("transfer-encoding", ""):
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


def _error(fault: str) -> tuple[bytes, bytes]:
    code, line = {
        "500": ("InternalError", "500 Internal Server Error"),
        "503": ("SlowDown", "503 Slow Down"),
    }[fault]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = (
        f"HTTP/1.1 {line}\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def _flipped(body: bytes) -> bytes:
    if not body:
        return body
    changed = bytearray(body)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)
