"""Requests that two readers of HTTP would read differently: refused, and the connection closed.

Each is sent with another request behind it, on one connection: what stands behind must never be
answered, since a proxy before us would not know that it is one.
"""

import json
import re

import pytest
from talk import Talk, post

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v2/models/kinds/predict/ HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
NEXT = b"GET /v2/models/nobody/ HTTP/1.1\r\nHost: localhost\r\nX-Behind: 1\r\n\r\n"

SHAPES = {
    "two lengths of body": POST + JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "the same length twice": POST + JSON + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + JSON + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length and chunks": POST
    + JSON
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + JSON + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": POST + JSON + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks last but one": POST + JSON + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "two transfer codings": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a length with a sign": POST + JSON + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + JSON + b"Content-Length: -2\r\n\r\n{}",
    "a length in hex": POST + JSON + b"Content-Length: 0x2\r\n\r\n{}",
    "a length with an underscore": POST + JSON + b"Content-Length: 1_0\r\n\r\n{}        ",
    "a length beyond numbers": POST + JSON + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "an empty length": POST + JSON + b"Content-Length: \r\n\r\n{}",
    "space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a folded line": GET + b"X-Folded: a\r\n b\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "space before the first header": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "one bare line feed": GET + b"X-A: b\nX-C: d\r\n\r\n",
    "a bare carriage return": GET + b"X-A: b\rX-C: d\r\n\r\n",
    "a NUL in a value": GET + b"X-A: b\0c\r\n\r\n",
    "a NUL in a name": GET + b"X\0A: b\r\n\r\n",
    "a NUL in the address": b"GET /health\0z HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control in a name": GET + b"X\x01A: b\r\n\r\n",
    "no colon": GET + b"nothing\r\n\r\n",
    "an empty name": GET + b": b\r\n\r\n",
    "no version": b"GET /healthz\r\nHost: localhost\r\n\r\n",
    "a version of the future": b"GET /healthz HTTP/9.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2 on a port that speaks 1.1": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tab": b"GET\t/healthz\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method with a bracket": b"GE[T /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 40 + b"\r\n\r\n",
    "a chunk of a bad size": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk of 2 ** 64": POST
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}\r\n0\r\n\r\n",
    "a giant address": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a giant header": GET + b"X-A: " + b"x" * 100_000 + b"\r\n\r\n",
    "a thousand headers": GET + b"".join(b"X-%d: a\r\n" % n for n in range(1000)) + b"\r\n",
    "HTTP/2 in the words of 1.1": b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9 with headers": b"GET /healthz HTTP/0.9\r\nHost: localhost\r\n\r\n",
    "an address of another protocol": b"GET ftp://localhost/healthz HTTP/1.1\r\n"
    b"Host: localhost\r\n\r\n",
    "an address that is none": b"GET http://[/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a host with a query": b"GET /healthz HTTP/1.1\r\nHost: localhost?x\r\n\r\n",
    "a host with a fragment": b"GET /healthz HTTP/1.1\r\nHost: localhost#x\r\n\r\n",
    "a host behind a number": b"GET /healthz HTTP/1.1\r\nHost: [::1].example.org\r\n\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    "another server's address": b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: example.org\r\n\r\n",
    "a host with a user": b"GET /healthz HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "another's address for our host": b"GET http://example.org/healthz HTTP/1.1\r\n"
    b"Host: localhost\r\n\r\n",
    "a host with a path": b"GET /healthz HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start", "--client-timeout", "4")
    server.wait_ready("kinds")
    return server


def all_that_came(server, data):
    with Talk(server) as talk:
        talk.socket.settimeout(60)
        got = b""
        try:
            talk.socket.sendall(data)
            while more := talk.socket.recv(65536):
                got += more
        except ConnectionError:
            pass
        return got


@pytest.mark.parametrize("what", SHAPES)
def test_what_is_ambiguous_is_refused_and_nothing_behind_it_is_answered(server, what):
    got = all_that_came(server, SHAPES[what] + NEXT)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", got)]
    print(what, statuses)
    assert len(statuses) == 1 and 400 <= statuses[0] < 500, got
    assert got.count(b"Server: modelyard\r\n") == len(statuses)
    assert b"aiohttp" not in got.lower() and b"python" not in got.lower()


def test_the_refusal_is_a_problem_that_says_what_is_wrong(server):
    got = all_that_came(server, SHAPES["no colon"])
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ") and b"application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    problem = json.loads(body)
    assert problem["message"] == problem["detail"] and "HTTP" in problem["detail"]
    got = all_that_came(server, SHAPES["a giant header"])
    assert got.startswith(b"HTTP/1.0 431 ")


def test_what_is_odd_but_clear_is_answered(server):
    extension = b"2;a=" + b"x" * 200_000 + b"\r\n{}\r\n0\r\n\r\n"
    with Talk(server) as talk:
        talk.send(POST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + extension)
        assert talk.answer()[0] == 200
        talk.send(b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert talk.answer()[0] == 200


def test_a_version_that_is_not_spoken_is_answered_in_one_that_is(server):
    for what in ("HTTP/2 in the words of 1.1", "HTTP/0.9 with headers"):
        got = all_that_came(server, SHAPES[what])
        assert got.startswith(b"HTTP/1.1 400 ") and b"HTTP/1.1 and 1.0" in got


def test_it_is_counted_and_one_line_of_the_log(server):
    for _ in range(3):
        all_that_came(server, SHAPES["no colon"])
    told = [line for line in server.get("/metrics").text.splitlines() if 'route="none"' in line]
    assert any('method="other"' in line and 'status="400"' in line for line in told), told
    assert "Traceback" not in "".join(server.lines)


def test_the_server_goes_on(server):
    with Talk(server) as talk:
        talk.send(post("/v2/models/kinds/predict/", b"{}"))
        assert talk.answer()[0] == 200
