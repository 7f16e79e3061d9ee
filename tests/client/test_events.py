"""Following a run: events, lost connections, the log."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from modelyard.client import AsyncClient, NotFound, ServerUnreachable, TimedOut
from modelyard.client.events import EventParser

EVENTS = "/v2/models/m/train/r/events"
RUNNING = {"uuid": "r", "status": "running", "phase": "training"}
DONE = {"uuid": "r", "status": "done", "phase": "finished"}


def event(kind: str, data: object, event_id: str) -> bytes:
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def stream(*pieces: bytes, lost: bool = False):
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.02)
        if lost:
            request.transport.abort()
        return response

    return handler


async def test_events_end_with_the_record_that_tells_the_end(server, client):
    server.on(
        "GET",
        EVENTS,
        stream(
            b": comment\n\n",
            event("record", RUNNING, "0"),
            event("metrics", [{"step": 1, "time": 2.0, "values": {"loss": 1}}], "1"),
            event("record", DONE, "2"),
        ),
    )
    got = [item async for item in client.events("m", "r")]
    assert [(item.type, item.id) for item in got] == [
        ("record", "0"),
        ("metrics", "1"),
        ("record", "2"),
    ]
    assert got[1].data[0]["values"] == {"loss": 1}


async def test_a_lost_stream_goes_on_behind_the_last_whole_event(server, client):
    second = event("log", "two", "2")
    server.on(
        "GET",
        EVENTS,
        stream(event("log", "one", "1"), second[:12], lost=True),
        stream(second, event("record", DONE, "3")),
    )
    got = [item.data async for item in client.events("m", "r", log=True)]
    assert got == ["one", "two", DONE]
    assert [seen.headers.get("last-event-id") for seen in server.seen] == [None, "1"]
    assert server.seen[0].query == [("log", "1")]


async def test_a_stream_that_a_stopping_server_ended_is_taken_up_again(server, client):
    server.on("GET", EVENTS, stream(event("log", "one", "1")), stream(event("record", DONE, "2")))
    server.on("GET", "/v2/models/m/train/r", RUNNING)
    assert len([item async for item in client.events("m", "r")]) == 2


async def test_resuming_behind_the_end_ends_at_once(server, client):
    server.on("GET", EVENTS, stream())
    server.on("GET", "/v2/models/m/train/r", DONE)
    assert [item async for item in client.events("m", "r", last_event_id="9")] == []
    assert server.seen[0].headers["last-event-id"] == "9"


async def test_reconnecting_gives_up(server):
    server.on("GET", EVENTS, stream(event("log", "one", "1"), lost=True), stream(lost=True))
    got = []
    async with AsyncClient(server.url, reconnect_s=0.5) as client:
        with pytest.raises(ServerUnreachable):
            async for item in client.events("m", "r"):
                got.append(item.data)
    assert got == ["one"]


async def test_a_run_that_is_not_there_is_no_reason_to_reconnect(server, client):
    with pytest.raises(NotFound):
        [item async for item in client.events("m", "r")]
    assert len(server.seen) == 1


async def test_wait_returns_the_final_record_or_times_out(server, client):
    server.on("GET", EVENTS, stream(event("record", DONE, "1")))
    server.on("GET", "/v2/models/m/train/r", DONE)
    assert (await client.wait("m", "r")).succeeded

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    server.on("GET", EVENTS, silent)
    with pytest.raises(TimedOut, match="has not ended"):
        await client.wait("m", "r", timeout_s=0.2)


async def test_log_is_read_and_followed_by_lines(server, client):
    path = "/v2/models/m/train/r/log"
    server.on("GET", path, stream("één\ntw".encode(), b"o\nlast"))
    assert [line async for line in client.follow_log("m", "r", tail=3)] == ["één", "two", "last"]
    assert server.seen[0].query == [("tail", "3"), ("follow", "1")]
    assert await client.log("m", "r") == "één\ntwo\nlast"


def test_parser_reads_what_the_standard_allows():
    parser = EventParser()
    lines = ["data: 1", "data:2", "", "event", "id", "retry: 5", ": c", "data: [1]", ""]
    got = [found for line in lines if (found := parser.feed(line)) is not None]
    assert [item.data for item in got] == ["1\n2", [1]]
    assert got[0].type == "message"
