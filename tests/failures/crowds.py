"""Clients in crowds, and what they cost the front. Loopback only; each closes what it opened."""

import asyncio
import contextlib
import gzip
import io
import select
import socket
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: "
KINDS = "/v2/models/kinds/predict/"


def body_of(path, size, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {size}", *headers, "", ""]).encode()


def pss_mb(server):
    """Of the front alone."""
    for line in (server.proc() / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no Pss")


class Others:
    """A client like others: asks for small predictions all the time, until the block is left."""

    def __init__(self, server):
        self._url = server.url + KINDS
        self.seconds, self.failed = [], []

    async def __aenter__(self):
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_):
        self._asking.cancel()
        await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self):
        async with aiohttp.ClientSession() as session:
            while True:
                began = time.monotonic()
                async with session.post(self._url, json={"text": "a"}) as answer:
                    if answer.status != 200:
                        self.failed.append((answer.status, await answer.text()))
                    await answer.read()
                self.seconds.append(time.monotonic() - began)
                await asyncio.sleep(0.01)

    def ms(self, share):
        """The time in which this share of them was answered."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))] * 1000


async def dripping(server, count, head, drip, limit_s):
    """`count` connections that send a byte a second, or nothing; the seconds until each was cut."""
    port = urlsplit(server.url).port

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        began = time.monotonic()
        try:
            writer.write(head)
            ended = asyncio.create_task(reader.read())
            while not ended.done() and time.monotonic() - began < limit_s:
                if drip:
                    writer.write(drip)
                await asyncio.wait([ended], timeout=1.0)
            assert ended.done(), f"not cut in {limit_s} s"
            return time.monotonic() - began
        except ConnectionError:
            return time.monotonic() - began
        finally:
            writer.transport.abort()

    return await asyncio.gather(*(one() for _ in range(count)))


async def unreading(server, count, path, limit_s):
    """`count` connections that ask for a large file and take nothing; the seconds until each was
    cut, since the first bytes of its answer came, as its own client sees it."""
    port, loop = urlsplit(server.url).port, asyncio.get_running_loop()
    began, seconds = {}, []
    with contextlib.ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", port))
            connection.send(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            epoll.register(connection, select.EPOLLIN)
        until = time.monotonic() + limit_s
        while len(seconds) < count and time.monotonic() < until:
            for number, event in await asyncio.to_thread(epoll.poll, 0.5):
                if event & (select.EPOLLERR | select.EPOLLHUP):
                    epoll.unregister(number)
                    seconds.append(time.monotonic() - began[number])
                else:
                    began[number] = time.monotonic()
                    epoll.modify(number, 0)  # its end is told all the same
    return seconds


def cut_at(server, phase):
    """Connections that were cut off at this."""
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(f'modelyard_connections_cut_total{{phase="{phase}"}}'):
            return int(float(line.rsplit(" ", 1)[1]))
    return 0


PIECE = b"\x89PNG" * 16_384
FORM = b'--b\r\nContent-Disposition: form-data; name="upload"; filename="a.png"\r\n\r\n'


def upload_of(path, size, kind):
    """Head and end of an upload, and how many times `PIECE` stands between; as a file, a form's
    part, or in chunks."""
    count = size // len(PIECE)
    size, begin, end = count * len(PIECE), b"", b""
    head = body_of(path, size, "Connection: close").replace(b"application/json", b"image/png")
    if kind == "form":
        begin, end = FORM, b"\r\n--b--\r\n"
        head = body_of(path, size + len(begin + end), "Connection: close").replace(
            b"application/json", b"multipart/form-data; boundary=b"
        )
    elif kind == "chunked":
        head = head.replace(b"Content-Length: %d" % size, b"Transfer-Encoding: chunked")
        begin, end = b"", b"0\r\n\r\n"
    return head + begin, count, end


async def uploading(server, path, count, size, kinds=("file",), patience_s=570.0):
    """`count` uploads at the same time; how often each status was answered."""
    port, statuses = urlsplit(server.url).port, Counter()
    chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)

    async def one(kind):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status = "cut"
        try:
            begin, pieces, end = upload_of(path, size, kind)
            writer.write(begin)
            for _ in range(pieces):
                writer.write(chunk if kind == "chunked" else PIECE)
                await writer.drain()
            writer.write(end)
            status = (await reader.readline()).split()[1].decode()
            await reader.read()
        except (ConnectionError, IndexError):
            pass
        finally:
            writer.transport.abort()
        statuses[status] += 1

    work = (one(kinds[number % len(kinds)]) for number in range(count))
    await asyncio.wait_for(asyncio.gather(*work), patience_s)
    return dict(statuses)


def packed_nothing(size):
    """So many zeros in gzip: a thousandth of it."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return out.getvalue()


async def peak_of(server, work):
    """The most that the front had (MB of PSS) while `work` went on, and what came of it."""
    done, most = asyncio.ensure_future(work), 0.0
    while not done.done():
        most = max(most, await asyncio.to_thread(pss_mb, server))
        await asyncio.wait([done], timeout=0.2)
    return most, done.result()


def calls_left(server):
    return list(Path(server.home / "tmp" / "calls").iterdir())
