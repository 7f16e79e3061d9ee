"""The short way of plain predict calls: what a client sees is the same as by the framework."""

import gzip
import json
import socket
import time

import pytest
import requests
from talk import Talk, chunked, post

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
        (KINDS, b'{"weights": "x"}', ()),
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


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-npy", "image/png"])
@pytest.mark.parametrize("path", ["sums", "files", "kinds"])
def test_an_empty_body_is_no_array_and_no_file(server, path, kind):
    path = f"/v2/models/{path}/predict/"
    with Talk(server) as short, Talk(server) as long:
        short.send(post(path, b"", kind=kind))
        long.send(post(path, b"", "Cookie: a=b", kind=kind))
        (status, _, got), (status_there, _, got_there) = short.answer(), long.answer()
    assert (status, got) == (status_there, got_there)


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
    until = time.monotonic() + 30  # it goes after the answer has gone
    while list((server.home / "tmp" / "calls").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.02)


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
    # On a busy machine there may be room again before the call comes.
    assert any(_refused_and_answered(server) for _ in range(5))


def _refused_and_answered(server):
    """False if the call was taken: the queue was not full any more."""
    slow = [Talk(server) for _ in range(8)]
    try:
        for talk in slow:
            talk.send(post("/v2/models/batcher/predict/", b'{"seconds": 3}'))
        until = time.monotonic() + 60
        while _metric(server, "modelyard_queue_items") < 3 and time.monotonic() < until:
            time.sleep(0.01)
        with Talk(server) as talk:
            call = post("/v2/models/batcher/predict/", b'{"do": "%s"}' % (b"x" * 100_000))
            talk.send(call[:1000], call[1000:])
            status = talk.answer()[0]
            assert status in (200, 503)
            talk.send(post(KINDS, b'{"text": "after"}'))
            assert text_of(talk.answer()) == "after"
            return status == 503
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
