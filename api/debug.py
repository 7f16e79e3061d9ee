"""`/v2/debug/`: what the server logs and what its models print, where that was switched on.

The models print in processes of their own, into `HOME/logs/NAME.log`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aiohttp import web

from .logs import line_formatter
from .services import services

LIMIT = 64 * 1024
"""Bytes that are shown of each log: its end."""

log = logging.getLogger(__name__)


class Printed(logging.Handler):
    """The end of the server's own log, kept in memory for this page."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(line_formatter())
        self._lines: deque[str] = deque()
        self._size = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)[:LIMIT]
        self._lines.append(line)
        self._size += len(line) + 1
        while self._size > LIMIT:
            self._size -= len(self._lines.popleft()) + 1

    def text(self) -> str:
        """What is kept, a line each."""
        return "".join(f"{line}\n" for line in self._lines.copy())

    async def listen(self, app: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`: keeps what is logged while the application lives."""
        root = logging.getLogger()
        root.addHandler(self)
        log.warning("the debug endpoint is on: /v2/debug/ shows what the models print")
        yield
        root.removeHandler(self)


PRINTED = web.AppKey("printed", Printed)


async def debug(request: web.Request) -> web.StreamResponse:
    """The server's log and the end of each model's, under headings; 204 if switched off."""
    here = services(request)
    if not here.settings.debug_endpoint:
        return web.Response(status=204)
    logs = [here.home.logs / f"{handle.name}.log" for handle in here.pool.all()]
    text = _heading("the server") + request.config_dict[PRINTED].text()
    text += await asyncio.to_thread(_ends, logs)
    return web.Response(text=text, headers={"Cache-Control": "no-store"})


def _ends(logs: Sequence[Path]) -> str:
    return "".join(f"\n{_heading('the model ' + path.stem)}{_end(path)}" for path in logs)


def _heading(of: str) -> str:
    return f"=== {of} (at most the last {LIMIT // 1024} KiB) ===\n"


def _end(path: Path) -> str:
    """The last part of a log, from the beginning of a line."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - LIMIT)
            file.seek(start)
            data = file.read(LIMIT)
    except FileNotFoundError:  # it has printed nothing yet
        return ""
    if start and b"\n" in data:
        data = data.partition(b"\n")[2]
    text = data.decode("utf-8", "replace")
    return text if text.endswith("\n") or not text else text + "\n"
