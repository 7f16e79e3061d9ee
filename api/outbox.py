"""Lines on their way to a client that may still be sending: what it does not take yet is kept.

Many HTTP clients send the whole of a request before they read anything. If the answers to its first
lines had nowhere to go, neither side would ever go on. Runs in the front.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from ..clearing import make_folder

MEMORY = 1024**2
"""Bytes that are kept in memory; more go to a file."""
KEPT_LIMIT = 256 * 1024**2
"""Bytes from which who puts a line has to wait."""
_SLICE = 64 * 1024


class Outbox:
    """One streamed answer. Its head is sent with the first line, so that an error before that can
    have a status of its own."""

    def __init__(self, request: web.Request, content_type: str, folder: Path) -> None:
        self.begun = False
        self._request = request
        self._response = web.StreamResponse(headers={"Content-Type": content_type})
        self._folder = folder
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._file_end = 0
        self._kept = 0
        self._finished = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, line: bytes) -> None:
        """Takes one line, in the order that they come in or nearly; waits if too many are kept."""
        self.begun = True
        while self._kept > KEPT_LIMIT:
            self._room.clear()
            await self._room.wait()
        self._kept += len(line)
        if len(self._memory) < MEMORY:
            self._memory += line
        else:
            self._keep(line)
        self._news.set()

    def finish(self) -> None:
        """Nothing more comes."""
        self._finished = True
        self._news.set()

    async def send(self) -> web.StreamResponse:
        """Sends what comes until the end. Raises ConnectionResetError if the client has gone, or
        the port has cut it off because it took nothing (`api/port/`)."""
        try:
            while self._kept or not self._finished:
                if not self._kept:
                    self._news.clear()
                    await self._news.wait()
                    continue
                lines, self._memory = self._memory, bytearray()
                await self._write(lines)
                await self._send_file()
            await self._prepare()
            await self._response.write_eof()
        finally:
            if self._file is not None:
                self._file.close()
        return self._response

    def _keep(self, line: bytes) -> None:
        if self._file is None:
            make_folder(self._folder)
            self._file = (self._folder / "kept").open("w+b")
        self._file.seek(self._file_end)
        # Into the page cache: cheaper than a hop to a thread.
        self._file_end += self._file.write(line)

    async def _send_file(self) -> None:
        """All of the file, and what comes to it meanwhile: its pieces do not end where lines do."""
        start = 0
        while self._file is not None and start < self._file_end:
            self._file.seek(start)
            piece = self._file.read(_SLICE)
            start += len(piece)
            await self._write(piece)
        if self._file is not None and self._file_end:
            self._file.truncate(0)
            self._file_end = 0

    async def _write(self, data: bytes | bytearray) -> None:
        await self._prepare()
        for start in range(0, len(data), _SLICE):
            piece = bytes(data[start : start + _SLICE])
            await self._response.write(piece)
            self._kept -= len(piece)
        self._room.set()

    async def _prepare(self) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)
