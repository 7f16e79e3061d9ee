"""Crowds of slow, silent and loading clients: cut off, bounded in memory, nothing left behind.

The sample has some of each; `make test-slow` as many as the promise says, and prints the figures.
"""

import asyncio
import resource
import socket
import time

import aiohttp
import pytest

from .crowds import (
    HEAD,
    KINDS,
    Others,
    body_of,
    calls_left,
    cut_at,
    dripping,
    packed_nothing,
    peak_of,
    pss_mb,
    unreading,
    uploading,
)

LATE_S = 30.0
"""Beyond the limit that is promised: what the machine may be late, with everything else on it."""
FULL = pytest.mark.slow
FILES = "/v2/models/files/predict/"
LARGE = "/ui/swagger-ui-bundle.js"


@pytest.fixture(scope="module")
def server(serve_module):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    server = serve_module("--model-name", "kinds,files", "--no-warm-start", "--log-level", "error")
    for model in ("kinds", "files"):
        server.wait_ready(model)
    server.predict("kinds", json={})
    yield server
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def told(what, count, seconds, others, before, server):
    print(f"{what}: {count}, cut after {min(seconds):.1f} to {max(seconds):.1f} s; others' calls "
          f"{len(others.seconds)}, p50 {others.ms(0.5):.0f} ms, p99 {others.ms(0.99):.0f} ms; "
          f"front {before:.0f} to {pss_mb(server):.0f} MB")  # fmt: skip


@pytest.mark.parametrize("what", ["heads", "bodies", "readers"])
@pytest.mark.parametrize("count", [pytest.param(1000, marks=FULL)])
def test_slow_clients_are_cut_in_time_and_others_are_served(server, what, count):
    async def crowd():
        limit = 30 + LATE_S
        async with Others(server) as others:
            if what == "heads":
                seconds = await dripping(server, count, HEAD, b"x", limit)
            elif what == "bodies":
                seconds = await dripping(server, count, body_of(KINDS, 900_000), b"x", limit)
            else:
                seconds = await unreading(server, count, LARGE, limit)
        return seconds, others

    before = pss_mb(server)
    seconds, others = asyncio.run(crowd())
    told(what, count, seconds, others, before, server)
    assert len(seconds) == count and others.failed == [] and len(others.seconds) > 20
    assert calls_left(server) == []


@pytest.mark.parametrize("count", [200, pytest.param(8000, marks=FULL)])
def test_idle_connections_cost_little_and_are_closed(server, count):
    """Fresh ones, and those that have asked something; the sample does not wait for their end."""
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    port = int(server.url.rsplit(":", 1)[1])

    async def crowd():
        opened = []
        before, sizes = pss_mb(server), []
        for number in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append((reader, writer))
            if number % 2:
                writer.write(get)
                await reader.readuntil(b'"alive"}')
        sizes.append((pss_mb(server) - before) * 1e6 / count)
        began = time.monotonic()
        if count >= 1000:
            for reader, _ in opened:
                assert await asyncio.wait_for(reader.read(), 75 + LATE_S) == b""
        seconds = time.monotonic() - began
        for _, writer in opened:
            writer.transport.abort()
        return sizes[0], seconds

    size, seconds = asyncio.run(crowd())
    print(f"idle: {count}, {size:.0f} bytes each, the last closed after {seconds:.1f} s")
    assert size < 10_000 if count >= 1000 else size < 100_000


@pytest.mark.parametrize(
    ("count", "size", "kinds"),
    [
        (100, 2 << 20, ("file", "form", "chunked")),
        pytest.param(1000, 10 << 20, ("file",), marks=FULL),
        pytest.param(1000, 10 << 20, ("form",), marks=FULL),
        pytest.param(1000, 10 << 20, ("chunked",), marks=FULL),
    ],
)
def test_parallel_uploads_leave_no_file_and_hardly_any_memory(server, count, size, kinds):
    async def crowd():
        async with Others(server) as others:
            work = uploading(server, FILES, count, size, kinds)
            return *await peak_of(server, work), others

    before, began = pss_mb(server), time.monotonic()
    most, statuses, others = asyncio.run(crowd())
    print(f"uploads: {count} of {size >> 20} MiB ({kinds}) in {time.monotonic() - began:.0f} s: "
          f"{statuses}; others' calls {len(others.seconds)}, p50 {others.ms(0.5):.0f} ms, p99 "
          f"{others.ms(0.99):.0f} ms; front {before:.0f} to {most:.0f} MB")  # fmt: skip
    assert set(statuses) <= {"200", "503"} and statuses.get("200", 0) > 0
    assert most - before < 64
    assert others.failed == [] and others.seconds
    gone(server)


def gone(server):
    """No call has left a file."""
    until = time.monotonic() + 60
    while calls_left(server):
        assert time.monotonic() < until, calls_left(server)[:3]
        time.sleep(0.1)


def test_uploads_that_hardly_come_and_those_that_are_refused_keep_none_out(server):
    """More of them than may send at the same time."""
    head = body_of(FILES, 10 << 20).replace(b"application/json", b"image/png")
    refused = "/v2/models/nobody/predict/"

    async def crowd():
        port = int(server.url.rsplit(":", 1)[1])
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for number, (_, writer) in enumerate(opened):
            writer.write(head + (b"x" * 100_000 if number % 2 else b""))
        statuses = [await uploading(server, refused, 150, 1 << 20)]
        statuses.append(await uploading(server, FILES, 3, 10 << 20, ("file", "form")))
        for _, writer in opened:
            writer.transport.abort()
        statuses.append(await uploading(server, FILES, 3, 1 << 20))
        return statuses

    statuses = asyncio.run(crowd())
    assert set(statuses[0]) <= {"404", "cut"} and statuses[0]["404"] > 0
    assert statuses[1:] == [{"200": 3}, {"200": 3}]
    gone(server)


@pytest.mark.slow
def test_answers_that_nobody_takes_share_a_budget(server):
    """A gigabyte of them: those who have let theirs wait longest are cut off before their time."""
    body = b'{"text": "%s"}' % (b"a" * 1_000_000)
    head = body_of(KINDS, len(body))

    async def crowd():
        port, opened, most = int(server.url.rsplit(":", 1)[1]), [], 0.0
        for _ in range(1000):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.sock_sendall(connection, head + body)
            opened.append(connection)
            most = max(most, pss_mb(server))
        for connection in opened:
            connection.close()
        return most

    before = pss_mb(server)
    most = asyncio.run(crowd())
    cut = cut_at(server, "answer")
    print(
        f"unread: 1000 answers of 1 MB; front {before:.0f} to {most:.0f} MB, {cut} cut off so far"
    )
    assert most - before < 450 and cut > 50


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(KINDS, marks=FULL),
        pytest.param(FILES, marks=FULL),
        "/v2/models/kinds/infer",
    ],
)
def test_a_small_body_that_unpacks_to_a_gigabyte_is_refused_soon(server, path):
    bomb = packed_nothing(1 << 30)
    assert len(bomb) < 1_100_000

    async def send():
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        url = server.url + path
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=bomb, headers=headers) as answer,
        ):
            return answer.status

    before = pss_mb(server)
    most, status = asyncio.run(peak_of(server, send()))
    print(f"a gigabyte in {len(bomb)} bytes: {status}; front {before:.0f} to {most:.0f} MB")
    assert status in (400, 413) and most - before < 128
    assert calls_left(server) == []
