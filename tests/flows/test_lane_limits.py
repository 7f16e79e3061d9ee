"""What clients cannot do to the short way: fill it, stay in it, or leave things behind."""

import json
import random
import socket
import time

import pytest
from talk import Talk, post

KINDS = "/v2/models/kinds/predict/"
LARGE = b'{"text": "%s"}' % (b"x" * 1_048_000)  # the answer is larger, and goes by a file


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "kinds,files,batcher", "--no-warm-start", "--client-max-size", "1M"),
        *(
            "--queue-size",
            "64M",
        ),
    )
    for model in ("kinds", "files", "batcher"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def narrow(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start", "--client-calls", "1")
    server.wait_ready("kinds")
    return server


def left_behind(server, seconds=5.0):
    """Folders of calls that are still there after a while."""
    until = time.monotonic() + seconds
    while (found := list((server.home / "tmp" / "calls").iterdir())) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def rss_mb(server):
    return int((server.proc() / "statm").read_text().split()[1]) * 4096 / 1e6


def test_a_client_that_never_reads_is_held_back_and_nobody_else_waits(server):
    call = post(KINDS, b'{"text": "%s"}' % (b"x" * 20_000))
    whole = call * (100_000_000 // len(call))
    before = rss_mb(server)
    with Talk(server) as talk:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        talk.socket.setblocking(False)
        sent, moved = 0, time.monotonic()
        while sent < len(whole) and time.monotonic() - moved < 2:
            try:
                sent += talk.socket.send(whole[sent : sent + (1 << 18)])
                moved = time.monotonic()
            except BlockingIOError:
                time.sleep(0.02)
        assert sent < 60_000_000, "most of it the kernel's"
        assert rss_mb(server) - before < 60
        assert server.predict("kinds", json={"text": "other"}).status_code == 200


def test_clients_that_leave_at_any_moment_leave_no_folder_behind(server):
    call = post("/v2/models/files/predict/", b"\x89PNG" * 100, kind="image/png")
    with Talk(server) as talk:
        began = time.monotonic()
        for _ in range(20):
            talk.send(call)
            assert talk.answer()[0] == 200
        usual = (time.monotonic() - began) / 20
    chance = random.Random(4)
    for _ in range(300):
        with Talk(server) as talk:
            talk.send(call)
            time.sleep(usual * chance.uniform(0.2, 1.3))
    assert left_behind(server) == []


def test_a_large_answer_that_the_client_does_not_take_leaves_no_file(server):
    with Talk(server) as talk:
        for _ in range(3):
            talk.send(post(KINDS, LARGE, "Accept: image/png"))
            assert talk.answer()[0] == 406
    assert left_behind(server) == []


def test_a_client_that_hangs_up_in_its_answer_gains_no_place(narrow):
    for _ in range(5):
        with Talk(narrow) as talk:
            talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 13)
            talk.send(post(KINDS, LARGE))
            talk.socket.recv(100)
    time.sleep(0.3)
    call = post(KINDS, LARGE)
    with Talk(narrow) as first:
        first.send(call[:1000])
        time.sleep(0.3)
        for _ in range(6):
            with Talk(narrow) as talk:
                talk.send(call[:1000], call[1000:])
                assert talk.answer()[0] == 429
        first.send(call[1000:])
        assert first.answer()[0] == 200
    assert narrow.predict("kinds", json={}).status_code == 200


def test_what_is_sent_behind_the_last_call_is_not_begun(server):
    before = counted(server)
    with Talk(server) as talk:
        talk.send(post(KINDS, b"{}", "Connection: close") + post(KINDS, b"{}") * 3)
        assert talk.answer()[1]["Connection"] == "close"
        assert talk.ended()
    time.sleep(0.2)
    assert counted(server) == before + 1


def test_numbers_of_any_length_come_as_they_are(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, b'{"anything": {"n": [%d, -%d]}}' % (2**70, 10**40)))
        got = json.loads(talk.answer()[2])["predictions"]["anything"][1]
        assert got == {"n": [2**70, -(10**40)]}


def counted(server):
    """Requests of this model's predict route."""
    lines = server.get("/metrics").text.splitlines()
    words = ("modelyard_http_requests_total{", 'model="kinds"')
    counts = [line for line in lines if all(word in line for word in words)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


def test_a_body_in_many_small_pieces_comes_whole_and_what_follows_it_too(server):
    text = bytes(97 + n % 26 for n in range(200_000))
    call, head = post(KINDS, b'{"text": "%s"}' % text), len(post(KINDS, b""))
    with Talk(server) as talk:
        talk.socket.sendall(call[: head + 100])
        time.sleep(0.1)
        for at in range(head + 100, len(call), 1000):
            talk.socket.sendall(call[at : at + 1000])
        talk.socket.sendall(post(KINDS, b'{"text": "next"}') * 2)
        assert json.loads(talk.answer()[2])["predictions"]["text"][1] == text.decode()
        for _ in range(2):
            assert json.loads(talk.answer()[2])["predictions"]["text"][1] == "next"
