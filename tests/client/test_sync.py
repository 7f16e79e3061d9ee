"""The client without an event loop, and inside one (a notebook)."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest
from aiohttp import web

from modelyard.client import Client, NotFound


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "modelyard-client"]


@pytest.fixture
async def url(server):
    server.on("GET", "/v2/models/", {"models": [{"id": "m"}]})

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(1000):
            await response.write(f"id: {number}\nevent: log\ndata: {number}\n\n".encode())
            await asyncio.sleep(0.02)
        return response

    server.on("GET", "/v2/models/m/train/r/events", events)
    return server.url


async def test_it_works_in_an_ordinary_thread(url):
    def script() -> list[str]:
        with Client(url) as client:
            return [model.name for model in client.models()]

    assert await asyncio.to_thread(script) == ["m"]
    assert threads() == []


def test_it_works_inside_a_running_loop():
    """As in a notebook's cell: the calling thread's own loop is blocked meanwhile."""
    ready, stop, address = threading.Event(), threading.Event(), []

    def serve() -> None:
        async def _models(request: web.Request) -> web.Response:
            return web.json_response({"models": []})

        async def main() -> None:
            app = web.Application()
            app.router.add_get("/v2/models/", _models)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address.append(runner.addresses[0][1])
            ready.set()
            await asyncio.to_thread(stop.wait)
            await runner.cleanup()

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait(5)

    async def cell() -> list:
        with Client(f"http://127.0.0.1:{address[0]}") as client:
            return client.models()

    try:
        assert asyncio.run(cell()) == []
    finally:
        stop.set()
        thread.join()


async def test_errors_come_through(url):
    def script() -> None:
        with Client(url) as client:
            client.model("none")

    with pytest.raises(NotFound):
        await asyncio.to_thread(script)


async def test_events_are_an_ordinary_iterator_that_may_be_left(url):
    def script() -> list:
        got = []
        with Client(url) as client:
            for event in client.events("m", "r"):
                got.append(event.data)
                if len(got) == 3:
                    break
            assert [model.name for model in client.models()] == ["m"]
        return got

    assert await asyncio.to_thread(script) == [0, 1, 2]


async def test_a_client_that_nobody_closed_leaves_no_thread(url):
    def script() -> None:
        Client(url).models()

    await asyncio.to_thread(script)
    gc.collect()
    deadline = time.monotonic() + 3
    while threads() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert threads() == []


async def test_a_closed_client_says_so_and_closing_twice_is_no_error(url):
    client = Client(url)
    await asyncio.to_thread(client.models)
    await asyncio.to_thread(client.close)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.models()
