"""`…/train/{id}/events`: Server-Sent Events of one run, resumable by Last-Event-ID.

An event's id says how far each source was read (`<record's rev>-<metrics byte>-<log byte>`), so
that a client that comes back, even to a server that was restarted, misses nothing.
Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace

from aiohttp import web

from ..errors import InvalidArguments
from ..models_plugin.answers import json_bytes
from ..schemas.resources import RunSchema
from ..schemas.states import Phase
from ..training.log_limit import read_log
from ..training.metrics import read_points
from ..training.paths import RunPaths
from ..training.service import RunRecord
from .access.principal import principal_of
from .access.staying import Stay
from .body import CHUNK
from .discretion import discretion
from .responses import Streamed
from .services import QUERY, services
from .train import run_data, run_of

POLL_S = 0.3
_ID = re.compile(r"(\d{1,15})-(\d{1,15})-(\d{1,15})", re.ASCII)
SILENCE_S = 15.0
"""After so long without an event a comment is sent, so that proxies keep the connection."""


@dataclass(frozen=True)
class Position:
    """How far a client has read: the record's revision, and bytes of metrics and log."""

    rev: int = -1
    metrics: int = 0
    log: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """Raises InvalidArguments for an id that this route never sent."""
        if not text:
            return cls()
        match = _ID.fullmatch(text.strip())
        if match is None:
            raise InvalidArguments({"Last-Event-ID": ["Not an id of this run's events."]})
        return cls(*(int(part) for part in match.groups()))

    def __str__(self) -> str:
        return f"{self.rev}-{self.metrics}-{self.log}"


async def events(request: web.Request) -> web.StreamResponse:
    """Event types `record` (the record changed), `metrics` (new points) and, with `log`, `log`.

    Ends after the record that tells the run's end, and when the client may not read it any more.
    """
    record = await run_of(request)
    position = Position.parse(request.headers.get("Last-Event-ID"))
    response = Streamed(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    if not await response.begun(request):
        return response
    stream = _Stream(request, response, position, bool(request[QUERY].get("log")))
    await stream.run(record)
    await response.write_eof()
    return response


class _Stream:
    """One client's stream; lives as long as its request."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        position: Position,
        with_log: bool,
    ) -> None:
        self._here = services(request)
        self._request = request
        self._stay = Stay(request)
        self._response = response
        self._position = position
        self._with_log = with_log
        self._last_sent = time.monotonic()

    async def run(self, record: RunRecord) -> None:
        paths = self._here.runs.paths(record)
        while True:
            if await self._stay.refusal() is not None:
                return
            ended = record.phase == Phase.FINISHED
            await self._send_metrics(paths)
            if self._with_log:
                await self._send_log(paths)
            # The record comes last, so that the one that tells the end ends the stream.
            if record.rev != self._position.rev:
                self._position = replace(self._position, rev=record.rev)
                await self._send("record", RunSchema().dump(run_data(self._here, record)))
            if ended or self._here.stopping.is_set():
                return
            if time.monotonic() - self._last_sent > SILENCE_S:
                self._last_sent = time.monotonic()
                await self._response.write(b": still here\n\n")
            record = await self._here.runs.wait_change(record.id, record.rev, POLL_S)

    async def _send_metrics(self, paths: RunPaths) -> None:
        while True:
            points, end = await asyncio.to_thread(
                read_points, paths.metrics, self._position.metrics
            )
            if end == self._position.metrics:
                return
            self._position = replace(self._position, metrics=end)
            if points:
                await self._send("metrics", [point._asdict() for point in points])

    async def _send_log(self, paths: RunPaths) -> None:
        while True:
            start = self._position.log
            chunk, following = await asyncio.to_thread(read_log, paths.log, start, CHUNK)
            if not chunk:
                return
            whole = chunk[: chunk.rfind(b"\n") + 1] or chunk
            self._position = replace(self._position, log=following - len(chunk) + len(whole))
            await self._send("log", whole.decode("utf-8", "replace"))

    async def _send(self, kind: str, data: object) -> None:
        self._last_sent = time.monotonic()
        text = json_bytes(data)
        if kind == "record":  # the rest is the training's own
            text = discretion(self._request).json(text, principal_of(self._request))
        await self._response.write(
            b"id: %b\nevent: %b\ndata: %b\n\n" % (str(self._position).encode(), kind.encode(), text)
        )
