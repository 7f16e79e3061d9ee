"""Who is slow is cut off, whichever way its request goes; who gets on is not, however slowly.

All of them come at the same time, and each test looks at what became of one.
"""

import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from talk import Talk, chunked, post

from modelyard.api.lane.opening import FIRST

KINDS = "/v2/models/kinds/predict/"
PATIENCE_S = 60.0
"""For what takes three seconds: the machine may be busy."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "kinds,files", "--no-warm-start"),
        *("--client-timeout", "4", "--idle-timeout", "14", "--client-rate", "200"),
    )
    for model in ("kinds", "files"):
        server.wait_ready(model)
    return server


BODY = b'{"text": "%s"}' % (b"x" * 200_000)
DRIPPING = {
    "a head": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 5000,
    "the first line": b"GET /" + b"x" * 5000,
    "a body in the lane": post(KINDS, BODY),
    "a body of the framework's": post(KINDS, BODY, "Cookie: a=b"),
    "a form": post("/v2/models/files/predict/", b"--x\r\n" + BODY,
                   kind="multipart/form-data; boundary=x"),
    "a chunked body": chunked(KINDS, BODY),
    "a body of ours": post("/v2/datasets/uploads/", BODY),
    "a line": post(KINDS, BODY, kind="application/x-ndjson"),
}  # fmt: skip
BOTH_WAYS = pytest.mark.parametrize("way", ["lane", "framework"])
MORE = {"lane": [], "framework": ["Cookie: a=b"]}
LARGE = b'{"text": "%s"}' % (b"x" * 1_000_000)


def dripping(server, data):
    """Sends a byte now and then until the other side has had enough: what it said."""
    head, got = data.find(b"\r\n\r\n") + 24, b""
    until = time.monotonic() + PATIENCE_S
    with Talk(server) as talk:
        if head > 24:
            talk.socket.sendall(data[:head])
            data = data[head:]
        talk.socket.settimeout(0.3)
        for byte in data:
            with contextlib.suppress(OSError):
                talk.socket.sendall(bytes([byte]))
            try:
                more = talk.socket.recv(65536)
            except TimeoutError:
                if time.monotonic() > until:
                    break
                continue
            except OSError:
                return got
            got += more
            if not more:
                return got
    raise AssertionError(f"not cut off in {PATIENCE_S} s")


def silent(server, sent):
    with Talk(server) as talk:
        talk.send(sent)
        if sent:
            assert talk.answer()[0] == 200
        talk.socket.settimeout(PATIENCE_S)
        return talk.ended()


def stalled(server, sent):
    """Sends no more than this: what it was told until the other side had enough."""
    got = b""
    with Talk(server) as talk:
        talk.send(sent)
        talk.socket.settimeout(PATIENCE_S)
        while more := talk.socket.recv(65536):
            got += more
    return got


def slow_upload(server, more):
    call = post(KINDS, b'{"text": "%s"}' % (b"x" * 12_000), *more)
    with Talk(server) as talk:
        for start in range(0, len(call), 600):
            talk.socket.sendall(call[start : start + 600])
            time.sleep(0.5)
        return talk.answer()


def seldom_lines(server):
    head = post(KINDS, b"", "Transfer-Encoding: chunked", kind="application/x-ndjson")
    with Talk(server) as talk:
        talk.send(head.replace(b"Content-Length: 0\r\n", b""))
        for number in range(3):
            line = b'{"whole": %d}\n' % number
            talk.send(b"%x\r\n%s\r\n" % (len(line), line))
            time.sleep(5)
        talk.send(b"0\r\n\r\n")
        return talk.answer()


def unread(server, call):
    """Sends calls and reads nothing, until it is cut off."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        connection.settimeout(PATIENCE_S)
        try:
            while True:
                connection.sendall(call)
        except TimeoutError:
            return "still there"
        except OSError:
            return "cut off"


@pytest.fixture(scope="module")
def became(server):
    """What became of each, by its name: a future."""
    lines = b'{"text": "%s"}\n' % (b"x" * 50_000) * 300
    work = {what: partial(dripping, server, data) for what, data in DRIPPING.items()}
    for way, more in MORE.items():
        work[f"upload {way}"] = partial(slow_upload, server, more)
        work[f"unread {way}"] = partial(unread, server, post(KINDS, LARGE, *more))
    work["unread lines"] = partial(unread, server, post(KINDS, lines, kind="application/x-ndjson"))
    work["nothing"] = partial(silent, server, b"")
    work["no more"] = partial(silent, server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for reads in (1, 2):
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".ljust(FIRST - 5, b"x") + b"\r\nX: "
        work[f"{reads} reads"] = partial(stalled, server, head + b"x" * FIRST * (reads - 1))
    work["lines"] = partial(seldom_lines, server)
    pool = ThreadPoolExecutor(len(work))
    yield {what: pool.submit(one) for what, one in work.items()}
    pool.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("what", DRIPPING)
def test_whoever_sends_a_byte_now_and_then_is_told_and_cut_off(became, what):
    got = became[what].result()
    assert got.startswith(b"HTTP/1.1 408 "), got
    assert b"\r\nServer: modelyard\r\n" in got and b"Connection: close" in got
    assert b"client_timeout" in got


@pytest.mark.parametrize("what", ["1 reads", "2 reads"])
def test_a_head_that_fills_the_first_reads_is_one_that_was_begun(became, what):
    got = became[what].result()
    assert got.startswith(b"HTTP/1.1 408 ") and b"client_timeout" in got, got


@pytest.mark.parametrize("what", ["nothing", "no more"])
def test_a_connection_without_a_request_is_closed(became, what):
    assert became[what].result() is True


@BOTH_WAYS
def test_a_slow_upload_that_gets_on_is_taken_however_long_it_lasts(became, way):
    assert became[f"upload {way}"].result()[0] == 200


def test_lines_may_come_seldom(became):
    status, _, body = became["lines"].result()
    assert status == 200
    assert [json.loads(line)["status"] for line in body.splitlines()] == [200] * 3


@pytest.mark.parametrize("what", ["lane", "framework", "lines"])
def test_whoever_does_not_read_its_answer_is_cut_off(became, what):
    assert became[f"unread {what}"].result() == "cut off"


def test_all_that_is_counted_and_no_trace_of_a_fault_is_logged(server, became):
    """A client that read no lines left a traceback for each."""
    for future in became.values():
        future.result()
    assert (cut(server, "head"), cut(server, "body")) == (4, 6)
    assert (cut(server, "answer"), cut(server, "idle")) == (3, 2)
    assert "Traceback" not in "".join(server.lines)
    assert "connections cut off that took too long" in "".join(server.lines)


def test_a_cut_call_gives_its_place_and_its_folder_back(server, became):
    for future in became.values():
        future.result()
    until = time.monotonic() + PATIENCE_S
    while left := list((server.home / "tmp" / "calls").iterdir()):
        assert time.monotonic() < until, left
        time.sleep(0.05)
    assert server.predict("kinds", json={"text": "a"}).status_code == 200


def cut(server, phase):
    """Connections that were cut off at this."""
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(f'modelyard_connections_cut_total{{phase="{phase}"}}'):
            return int(float(line.rsplit(" ", 1)[1]))
    return 0
