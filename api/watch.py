"""Watching a run: its log, metrics and checkpoints."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from ..schemas.states import Phase
from ..training.log_limit import read_log
from ..training.metrics import read_series
from ..training.paths import open_file, read_json
from .access.staying import Stay
from .body import CHUNK
from .responses import Streamed, json_response
from .services import QUERY, services
from .train import run_of

POLL_S = 0.3


async def log(request: web.Request) -> web.StreamResponse:
    """The run's log as text, whole or its last lines; `follow` goes on until the run has ended."""
    record = await run_of(request)
    here = services(request)
    query = request[QUERY]
    path = here.runs.paths(record).log
    offset = await asyncio.to_thread(_tail_offset, path, query.get("tail"))
    response = Streamed(headers={"Content-Type": "text/plain; charset=utf-8"})
    if not await response.begun(request):
        return response
    stay = Stay(request)
    while await stay.refusal() is None:
        ended = record.phase == Phase.FINISHED
        while True:
            chunk, offset = await asyncio.to_thread(read_log, path, offset, CHUNK)
            if not chunk:
                break
            await response.write(chunk)
        if ended or not query.get("follow") or here.stopping.is_set():
            break
        record = await here.runs.wait_change(record.id, record.rev, POLL_S)
    await response.write_eof()
    return response


async def metrics(request: web.Request) -> web.StreamResponse:
    """The run's numbers by name: `[step, unix time, value]` each, from a step on."""
    record = await run_of(request)
    query = request[QUERY]
    path = services(request).runs.paths(record).metrics
    found = await asyncio.to_thread(read_series, path, query.get("name"), query.get("since", -1))
    return json_response({"series": found.series, "last_step": found.last_step})


async def checkpoints(request: web.Request) -> web.StreamResponse:
    """The checkpoints that the run holds now: which step is the last, and which the best."""
    record = await run_of(request)
    path = services(request).runs.paths(record).checkpoints_index
    index = await asyncio.to_thread(read_json, path)
    return json_response(index or {"last": None, "best": None, "items": []})


def _tail_offset(path: Path, lines: int | None) -> int:
    """Where the last `lines` lines begin, in bytes; read from the end, whatever the file's size."""
    if lines is None:
        return 0
    try:
        opened = open_file(path)
    except FileNotFoundError:
        return 0
    with opened as file:
        end = file.seek(0, 2)
        position, found = end, -1 if _ends_with_newline(path, end) else 0
        while position > 0 and found < lines:
            step = min(CHUNK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            for at in range(len(block) - 1, -1, -1):
                if block[at] == 0x0A:
                    found += 1
                    if found == lines:
                        return position + at + 1
    return 0 if lines else end


def _ends_with_newline(path: Path, end: int) -> bool:
    return end > 0 and read_log(path, end - 1, 1)[0] == b"\n"
