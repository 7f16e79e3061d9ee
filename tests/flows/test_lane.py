"""The short way of plain predict calls: what a client sees is the same as by the framework."""

import gzip
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from modelyard.api.lane.connection import _AHEAD

KINDS = "/v2/models/kinds/predict/"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "kinds,files,batcher,bare,sums", "--no-warm-start"),
        *("--queue-items", "3", "--client-max-size", "1M"),
    )
    for model in ("kinds", "files", "batcher", "bare", "sums"):
        server.wait_ready(model)
    return server


class Talk:
    """A connection of which every byte is the test's own."""

    def __init__(self, server):
        port = urlsplit(server.url).port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.05)

    def answer(self):
        """Status, headers (names as they come) and body of the next answer."""
        head = self._until(lambda got: b"\r\n\r\n" in got)
        head, _, self._got = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                self._until(lambda got: b"\r\n" in got)
                size, _, rest = self._got.partition(b"\r\n")
                count = int(size, 16)
                self._got = rest
                self._until(lambda got, count=count: len(got) >= count + 2)
                body, self._got = body + self._got[:count], self._got[count + 2 :]
                if not count:
                    break
        else:
            length = int(headers["Content-Length"])
            self._until(lambda got: len(got) >= length)
            body, self._got = self._got[:length], self._got[length:]
        return int(first.split()[1]), headers, body

    def ended(self):
        """True if the server closes the connection now."""
        return not self._got and self.socket.recv(1) == b""

    def _until(self, enough):
        while not enough(self._got):
            more = self.socket.recv(1 << 20)
            assert more, f"the connection ended after {self._got[:300]!r}"
            self._got += more
        return self._got


def post(path, body, *headers, host="localhost", kind="application/json"):
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {kind}"]
    lines += [f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(path, body, *headers, kind="application/json"):
    """The same request as only the framework takes it."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    head = "\r\n".join([*lines, "Transfer-Encoding: chunked", *headers, "", ""]).encode()
    return head + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


def text_of(answer):
    return json.loads(answer[2])["predictions"]["text"][1]


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (KINDS, b'{"text": "a"}', ()),
        ("/v2/models/kinds/predict", b'{"text": "a"}', ()),
        (KINDS, b"", ()),
        (KINDS, b'{"whole": 11, "number": "x"}', ()),
        (KINDS, b'{"wohle": 1}', ()),
        (KINDS, b'{"text": ', ()),
        (KINDS, b"[1]", ()),
        (KINDS, b'{"text": "%s"}' % (b"x" * 50_000), ("Accept-Encoding: gzip, br",)),
        (KINDS, b'{"text": "%s"}' % (b"x" * 50_000), ()),
        (KINDS, b"{}", ("Accept: image/png",)),
        (KINDS, b"{}", ("Accept: text/html, */*;q=0.1",)),
        (KINDS, b"{}", ("X-Request-Timeout: 0",)),
        (KINDS, b"{}", ("X-Modelyard-Weights: none-such",)),
        ("/v2/models/sums/predict/", b'{"x": [[1, 2, 3]]}', ("Accept: application/x-npy",)),
        ("/v2/models/bare/predict/?weights=x", b"{}", ()),
        ("/v2/models/nobody/predict/", b"{}", ()),
    ],
)
def test_an_answer_is_the_same_as_by_the_framework(server, path, body, headers):
    with Talk(server) as short, Talk(server) as long:
        short.send(post(path, body, *headers))
        long.send(chunked(path, body, *headers))
        (status, said, got), (status_there, said_there, got_there) = short.answer(), long.answer()
    for told in (said, said_there):
        told.pop("Date")
        told.pop("Content-Length", None)
        told.pop("Transfer-Encoding", None)
    assert (status, said) == (status_there, said_there)
    if said.get("Content-Encoding") == "gzip":
        got, got_there = gzip.decompress(got), gzip.decompress(got_there)
    assert got == got_there


def test_calls_that_are_sent_ahead_are_answered_in_their_order(server):
    with Talk(server) as talk:
        talk.send(b"".join(post(KINDS, b'{"text": "%d"}' % n) for n in range(50)))
        assert [text_of(talk.answer()) for _ in range(50)] == [str(n) for n in range(50)]


def test_a_call_may_come_in_pieces_of_any_size(server):
    call = post(KINDS, b'{"text": "piece"}')
    end = call.index(b"\r\n\r\n") + 4
    for at in (1, 30, end - 2, end, end + 1, len(call) - 1):
        with Talk(server) as talk:
            talk.send(call[:at], call[at:] + call, call)
            assert [text_of(talk.answer()) for _ in range(3)] == ["piece"] * 3, at


def test_a_connection_may_ask_for_other_things_in_between(server):
    with Talk(server) as talk:
        get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        talk.send(post(KINDS, b'{"text": "1"}') + get + post(KINDS, b'{"text": "2"}'))
        assert text_of(talk.answer()) == "1"
        assert json.loads(talk.answer()[2])["status"] == "alive"
        assert text_of(talk.answer()) == "2"


def test_the_last_answer_says_so_if_the_client_wants_to_end(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, b"{}", "Connection: close"))
        status, headers, _ = talk.answer()
        assert (status, headers["Connection"]) == (200, "close")
        assert talk.ended()


def test_pictures_and_arrays_come_as_they_are(server):
    with Talk(server) as talk:
        talk.send(post("/v2/models/files/predict/", b"\x89PNG", kind="image/png"))
        got = json.loads(talk.answer()[2])["predictions"]
        assert (got["suffix"], got["type"], got["bytes"]) == (".png", "image/png", 4)
        talk.send(post("/v2/models/sums/predict/", bytes(24), kind="application/octet-stream"))
        assert json.loads(talk.answer()[2]) == {"y": [0.0, 0.0]}
    assert not list((server.home / "tmp" / "calls").iterdir()), "a file that the plugin asked for"


@pytest.mark.parametrize("taken", ["", "Accept-Encoding: gzip"])
def test_an_answer_of_megabytes_streams_to_a_client_that_reads_slowly(server, taken):
    body = b'{"text": "%s"}' % (b"x" * 900_000)
    with Talk(server) as talk:
        talk.send(post("/v2/models/kinds/predict/", body, *filter(None, [taken])) * 3)
        for _ in range(3):
            time.sleep(0.3)
            status, headers, got = talk.answer()
            assert status == 200
            got = gzip.decompress(got) if taken else got
            assert len(json.loads(got)["predictions"]["text"][1]) == 900_000
            assert headers["Vary"] == "Accept-Encoding"
    file = {"accept": "application/octet-stream", "size": 3_000_000}
    sent = requests.post(
        f"{server.url}/v2/models/files/predict/?accept=application/octet-stream&size=3000000",
        data=b"x", headers={"Content-Type": "image/png"}, timeout=30,
    )  # fmt: skip
    assert len(sent.content) == file["size"]
    assert not list((server.home / "tmp" / "calls").iterdir())


def test_a_client_that_sends_on_and_on_before_it_reads_is_held_back(server):
    call = post(KINDS, b'{"text": "%s"}' % (b"x" * 100_000))
    count = 3 * _AHEAD // len(call)
    with Talk(server) as talk:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        talk.socket.setblocking(False)
        sent, whole = 0, call * count
        until = time.monotonic() + 20
        while sent < len(whole) and time.monotonic() < until:
            try:
                sent += talk.socket.send(whole[sent : sent + 65536])
            except BlockingIOError:
                time.sleep(0.02)
                talk.socket.setblocking(False)
                try:
                    talk._got += talk.socket.recv(1 << 20)
                except BlockingIOError:
                    continue
        talk.socket.settimeout(20)
        assert sent == len(whole)
        for _ in range(count):
            assert talk.answer()[0] == 200


def test_a_refused_call_lets_its_body_pass_and_the_next_is_answered(server):
    slow = [Talk(server) for _ in range(80)]
    try:
        for talk in slow:
            talk.send(post("/v2/models/batcher/predict/", b'{"seconds": 0.05}'))
        with Talk(server) as talk:
            call = post("/v2/models/batcher/predict/", b'{"do": "%s"}' % (b"x" * 100_000))
            until = time.monotonic() + 10
            statuses = []
            while 503 not in statuses and time.monotonic() < until:
                talk.send(call[:1000], call[1000:])
                statuses.append(talk.answer()[0])
            assert 503 in statuses
            talk.send(post(KINDS, b'{"text": "after"}'))
            assert text_of(talk.answer()) == "after"
    finally:
        for talk in slow:
            talk.socket.close()


def test_clients_that_leave_free_their_places(server):
    for part in (300, None):
        talks = [Talk(server) for _ in range(20)]
        call = post("/v2/models/batcher/predict/", b'{"seconds": 0.2, "do": "%s"}' % (b"x" * 5000))
        for talk in talks:
            talk.send(call[:part])
        time.sleep(0.3)
        for talk in talks:
            talk.socket.close()
    until = time.monotonic() + 20
    while (depth := _metric(server, "modelyard_queue_items")) and time.monotonic() < until:
        time.sleep(0.1)
    assert depth == 0
    assert server.predict("batcher", json={"n": 1}).json()["predictions"]["n"] == 1


def test_every_call_is_counted_and_logged_by_its_route(server):
    before = _metric(server, 'route="/v2/models/{model}/predict",status="422"')
    with Talk(server) as talk:
        trace = "0af7651916cd43dd8448eb211c80319c"
        talk.send(post(KINDS, b'{"x": 1}', f"traceparent: 00-{trace}-b7ad6b7169203331-01"))
        assert talk.answer()[0] == 422
    assert _metric(server, 'route="/v2/models/{model}/predict",status="422"') == before + 1


def test_names_that_are_not_ours_are_not_served(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, b"{}", host="evil.example"))
        assert talk.answer()[0] == 421


def _metric(server, words):
    lines = [line for line in server.get("/metrics").text.splitlines() if words in line]
    counted = [line for line in lines if not line.startswith("#") and "_bucket" not in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counted if "seconds" not in line)
