"""What a head may say: expectations, transfer codings, and headers that may stand in it once."""

import json

import pytest
from talk import Talk, chunked, post
from yard_keys import make_key
from yard_waiting import wait_until

KINDS = "/v2/models/kinds/predict/"
BODY = b'{"text": "a"}'


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "kinds", "--no-warm-start", "--client-max-size", "1M"),
        *("--client-calls", "1", "--queue-items", "1"),
    )
    server.wait_ready("kinds")
    return server


@pytest.fixture(scope="module")
def closed(serve_module):
    """With a key."""
    server = serve_module("--model-name", "kinds", "--no-warm-start")
    server.key = "Authorization: " + make_key(server.home, "a", "predict")["Authorization"]
    server.reader = "Authorization: " + make_key(server.home, "b", "read")["Authorization"]
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def head_of(path, *headers, method="POST", length=13):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def refused(server, sent):
    """The one answer, a problem of ours, after which the connection has ended."""
    with Talk(server) as talk:
        talk.send(sent)
        status, headers, body = talk.answer()
        assert talk.ended()
    assert headers["Content-Type"].startswith("application/problem+json"), headers
    assert headers["Server"] == "modelyard"
    assert json.loads(body)["status"] == status
    return status, json.loads(body)["detail"]


# -- Expect -------------------------------------------------------------------------------------

PLACES = [
    ("POST", KINDS),
    ("GET", "/healthz"),
    ("POST", "/sign-in"),
    ("GET", "/tensorboard/"),
    ("PROPFIND", "/nowhere"),
    ("POST", "/v2/datasets/"),
]


@pytest.mark.parametrize(("method", "path"), PLACES)
@pytest.mark.parametrize("expected", ["x", "100-continue, x", "100-continued", "200-ok"])
def test_what_this_server_cannot_meet_is_refused_in_our_words(server, method, path, expected):
    status, told = refused(server, head_of(path, f"Expect: {expected}", method=method) + BODY)
    assert status == 417 and "Expect" in told and "100-continue" in told


def test_it_is_in_the_document(server):
    paths = server.get("/openapi.json").json()["paths"]
    for path in paths.values():
        for name, operation in path.items():
            if name in ("get", "post", "put", "delete"):
                assert {"417", "501", "400"} <= set(operation["responses"])


@pytest.mark.parametrize("word", ["100-continue", "100-Continue"])
def test_a_client_that_asks_first_is_told_to_go_on_and_its_connection_stays(server, word):
    with Talk(server) as talk:
        for _ in range(2):
            talk.send(head_of(KINDS, "Content-Type: application/json", f"Expect: {word}"))
            talk.go_on()
            talk.send(BODY)
            status, headers, body = talk.answer()
            assert status == 200 and json.loads(body)["predictions"]["text"][1] == "a"
            assert "Connection" not in headers
        talk.send(chunked(KINDS, b"", f"Expect: {word}").removesuffix(b"0\r\n\r\n"))
        talk.go_on()
        talk.send(b"0\r\n\r\n")
        assert talk.answer()[0] == 200


def test_one_that_has_sent_all_of_it_is_just_answered(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, BODY, "Expect: 100-continue"))
        assert talk.answer()[0] == 200
        talk.send(post(KINDS, BODY, "Expect: "))
        assert talk.answer()[0] == 200
        talk.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n")
        assert talk.answer()[0] == 200


def test_an_older_http_knows_no_expectations(server):
    with Talk(server) as talk:
        sent = head_of(KINDS, "Content-Type: application/json", "Expect: 100-continue")
        talk.send(sent.replace(b"HTTP/1.1", b"HTTP/1.0"))
        talk.send(BODY)
        assert talk.answer()[0] == 200


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/datasets/", "application/zip"),
        ("/sign-in", "application/x-www-form-urlencoded"),
        ("/v2/datasets/uploads/", "application/json"),
        ("/tensorboard/data", "application/json"),
        (KINDS, "application/x-ndjson"),
        (KINDS, "multipart/form-data; boundary=a"),
    ],
)
def test_whoever_reads_a_body_asks_for_it(server, path, kind):
    with Talk(server) as talk:
        talk.send(head_of(path, f"Content-Type: {kind}", "Expect: 100-continue", length=4))
        talk.go_on()
        talk.send(b"{}\r\n")
        assert talk.answer()[0] != 417


@pytest.mark.parametrize(
    ("status", "path", "headers", "length"),
    [
        (413, KINDS, ["Content-Type: application/json"], 2 << 20),
        (413, "/v2/datasets/uploads/", ["Content-Type: application/json"], 2 << 20),
        (415, KINDS, ["Content-Encoding: br"], 13),
        (404, "/v2/models/nobody/predict/", [], 13),
        (405, "/healthz", [], 13),
        (403, KINDS, ["Origin: https://stranger.example"], 13),
        (422, KINDS, ["X-Request-Timeout: x"], 13),
    ],
)
def test_who_is_refused_is_told_before_the_body_is_sent(server, status, path, headers, length):
    sent = head_of(path, *headers, "Expect: 100-continue", length=length)
    with Talk(server) as talk:
        talk.send(sent)
        got, said, _ = talk.answer()
        assert got == status and said["Connection"] == "close"


def test_so_is_who_has_no_key_or_not_the_right_one(closed):
    for headers, expected in (([], 401), ([closed.reader], 403), ([closed.key], 100)):
        with Talk(closed) as talk:
            talk.send(head_of(KINDS, "Content-Type: application/json", *headers,
                              "Expect: 100-continue"))  # fmt: skip
            if expected == 100:
                talk.go_on()
            else:
                got, said, _ = talk.answer()
                assert got == expected and said["Connection"] == "close"


def test_so_is_who_has_too_many_calls(server):
    with Talk(server) as first, Talk(server) as second:
        first.send(head_of(KINDS, "Content-Type: application/json", "Expect: 100-continue"))
        first.go_on()
        second.send(head_of(KINDS, "Content-Type: application/json", "Expect: 100-continue"))
        assert second.answer()[0] == 429
        first.send(BODY)
        assert first.answer()[0] == 200


# -- transfer codings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codings", ["gzip, chunked", "deflate,chunked", "identity, chunked", "compress , chunked"]
)
@pytest.mark.parametrize("path", [KINDS, "/sign-in", "/tensorboard/", "/nowhere"])
def test_a_body_in_another_transfer_coding_is_refused(server, path, codings):
    sent = chunked(path, BODY).replace(b"g: chunked", b"g: " + codings.encode())
    status, told = refused(server, sent)
    assert status == 501 and "Transfer-Encoding: chunked" in told


def test_chunks_are_not_of_an_older_http(server):
    status, told = refused(server, chunked(KINDS, BODY).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert status == 400 and "HTTP/1.0" in told


# -- twice --------------------------------------------------------------------------------------

TWICE = {
    "Idempotency-Key": ("a", "b"),
    "X-Request-Timeout": ("5", "6"),
    "X-Modelyard-Weights": ("latest", "production"),
    "X-Modelyard-Sticky": ("a", "b"),
    "X-Modelyard-Like": ("a", "b"),
    "Authorization": ("Bearer a", "Bearer b"),
    "Content-Type": ("application/json", "application/x-npy"),
    "Origin": ("http://localhost", "https://stranger.example"),
    "Sec-Fetch-Site": ("same-origin", "cross-site"),
    "Cookie": ("a=b", "c=d"),
    "Last-Event-Id": ("1", "2"),
    "Inference-Header-Content-Length": ("1", "2"),
    "Range": ("bytes=0-1", "bytes=1-2"),
    "If-Modified-Since": ("a", "b"),
    "User-Agent": ("a", "b"),
}


@pytest.mark.parametrize("name", TWICE)
@pytest.mark.parametrize("path", [KINDS, "/tensorboard/", "/nowhere"])
def test_what_may_stand_once_is_refused_twice_and_named(server, path, name):
    one, other = TWICE[name]
    for first, second in ((one, other), (other, one), (one, one)):
        lines = [f"{name}: {first}", f"{name.lower()}: {second}"]
        status, told = refused(server, head_of(path, *lines) + BODY)
        assert status == 400 and name in told


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding"])
def test_so_is_what_the_reader_of_http_knows(server, name):
    values = {"Host": "localhost", "Content-Length": "13", "Transfer-Encoding": "chunked"}
    sent = head_of(KINDS, f"{name}: {values[name]}", f"{name}: {values[name]}") + BODY
    with Talk(server) as talk:
        talk.send(sent)
        said = talk.socket.recv(1 << 16)
        assert said.split(b" ", 2)[1] == b"400", said


def test_a_list_may_come_in_several_lines_and_is_read_as_a_whole(server):
    with Talk(server) as talk:
        talk.send(post(KINDS, BODY, "Accept: image/png", "Accept: application/json"))
        assert talk.answer()[0] == 200
        tag = server.get("/openapi.json").headers["ETag"]
        lines = ["GET /openapi.json HTTP/1.1", "Host: localhost", 'If-None-Match: "x"']
        talk.send("\r\n".join([*lines, f"If-None-Match: {tag}", "", ""]).encode())
        talk.socket.settimeout(30)
        assert talk.socket.recv(1 << 16).startswith(b"HTTP/1.1 304 ")
