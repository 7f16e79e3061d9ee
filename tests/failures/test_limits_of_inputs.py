"""Every limit of what a request may be: at it it is taken, one more is refused, and nobody notices.

A row is what is sent at the limit, what is sent beyond it, the status then, and words of the
answer: the part of the request, the limit or the remedy. The table for readers is in docs/http.md.
"""

import asyncio
import gzip
import json
import os
from dataclasses import dataclass

import pytest
from talk import Talk, chunked, post

from modelyard.api.forms import parse_form

PREDICT = "/v2/models/kinds/predict/"
TRAIN = "/v2/models/kinds/train/"
UPLOADS = "/v2/datasets/uploads/"
KIB, MIB = 1024, 1024**2
URLENCODED = "application/x-www-form-urlencoded"
LINES = "application/x-ndjson"
GZIP = "Content-Encoding: gzip"
BEGIN = b'{"filename": "a.zip", "size": 3}'


def get(path, *headers, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def part(name, content=b"1", *headers, filename=None):
    name = f'name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = [f"Content-Disposition: form-data; {name}", *headers, "", ""]
    return "\r\n".join(head).encode() + content + b"\r\n"


def form(*parts, path=PREDICT, boundary="B", before=b"", extra=()):
    mark = f"--{boundary}".encode()
    body = before + b"".join(mark + b"\r\n" + one for one in parts) + mark + b"--\r\n"
    return post(path, body, *extra, kind=f"multipart/form-data; boundary={boundary}")


def nested(levels):
    return b'{"anything": [%s1%s]}' % (b"[" * (levels - 2), b"]" * (levels - 2))


def digits(count):
    return b'{"maybe": null, "text": "a", "anything": %s}' % (b"9" * count)


def members(count):
    return b"{%s}" % b", ".join(b'"m%d": 1' % n for n in range(count))


def packed(count):
    """`{}` in so many gzip members."""
    return gzip.compress(b"") * (count - 1) + gzip.compress(b"{}")


def chunks_of(trailers):
    return chunked(PREDICT, b"{}")[:-2] + trailers + b"\r\n"


@dataclass
class Row:
    at: bytes
    beyond: bytes
    status: int
    words: tuple[str, ...]
    taken: int = 200


ROWS = {
    # heads
    "headers": Row(
        get("/healthz", *[f"X-{n}: a" for n in range(127)]),
        get("/healthz", *[f"X-{n}: a" for n in range(128)]),
        431, ("128 headers",),
    ),
    "a header": Row(
        get("/healthz", "X-A: " + "a" * 8187), get("/healthz", "X-A: " + "a" * 8300),
        431, ("header", "8190", "body"),
    ),
    "the address": Row(
        get("/healthz?" + "a" * 8181), get("/healthz?" + "a" * 8182), 431, ("address", "8190"),
    ),
    "a content type": Row(
        chunked(PREDICT, b"{}", kind="application/json;" + "a;" * 491 + "b"),
        chunked(PREDICT, b"{}", kind="application/json;" + "a;" * 3000),
        431, ("Content-Type", "1000"),
    ),
    "trailers": Row(
        chunks_of(b"X-A: a\r\n" * 100), chunks_of(b"X-A: a\r\n" * 20_000), 431, ("128 headers",),
    ),
    "an idempotency key": Row(
        post(UPLOADS, BEGIN, "Idempotency-Key: " + "a" * 255),
        post(UPLOADS, BEGIN, "Idempotency-Key: " + "a" * 256),
        422, ("Idempotency-Key", "255"), taken=201,
    ),
    "a deadline": Row(
        post(PREDICT, b"{}", "X-Request-Timeout: 86400"),
        post(PREDICT, b"{}", "X-Request-Timeout: 86401"),
        422, ("X-Request-Timeout", "86400"),
    ),
    "a deadline that is no number": Row(
        post(PREDICT, b"{}", "X-Request-Timeout: 1"),
        post(PREDICT, b"{}", "X-Request-Timeout: nan"),
        422, ("X-Request-Timeout", "86400"),
    ),
    "a page": Row(get(TRAIN + "?limit=1000"), get(TRAIN + "?limit=1001"), 422, ("limit", "1000")),
    "a page of many digits": Row(
        get(TRAIN + "?limit=1"), get(TRAIN + "?limit=" + "9" * 8000), 422, ("limit", "integer"),
    ),
    "a page before the first": Row(
        get(TRAIN + "?limit=1"), get(TRAIN + "?limit=-1"), 422, ("limit", "1000"),
    ),
    "a method": Row(get("/healthz"), get("/healthz", method="TRACE"), 405, ("TRACE", "GET")),
    # JSON
    "levels of JSON": Row(post(PREDICT, nested(100)), post(PREDICT, nested(5000)), 400,
                          ("nested too deeply", "thousand")),
    "levels of JSON, chunked": Row(
        chunked(PREDICT, nested(100)), chunked(PREDICT, b"[" * MIB), 400, ("nested too deeply",),
    ),
    "digits": Row(post(PREDICT, digits(4300)), post(PREDICT, digits(4301)), 400,
                  ("4300 digits", "text")),
    "digits, chunked": Row(
        chunked(PREDICT, digits(4300)), chunked(PREDICT, digits(MIB)), 400, ("4300 digits",),
    ),
    "an exponent": Row(
        post(PREDICT, b'{"number": 1e308}'), post(PREDICT, b'{"number": 1e999999999}'), 400,
        ("infinity",),
    ),
    "not a number": Row(
        post(PREDICT, b'{"anything": [null, 12345678901234567890123]}'),
        post(PREDICT, b'{"anything": [NaN, 12345678901234567890123]}'),
        400, ("NaN", "null"),
    ),
    "a claimed shape": Row(
        post(PREDICT, b'{"tensor": {"shape": [2, 0], "dtype": "float32", "data": ""}}'),
        post(PREDICT, b'{"tensor": {"shape": [2, 4611686018427387904], "data": ""}}'),
        422, ("tensor", "36893488147419103232 bytes"),
    ),
    "JSON of the server's own": Row(
        post(UPLOADS, BEGIN + b" " * (MIB - len(BEGIN))),
        post(UPLOADS, BEGIN + b" " * (MIB - len(BEGIN) + 1)),
        413, ("JSON body", "1048576"), taken=201,
    ),
    "members of it": Row(
        post(UPLOADS, members(1000)), post(UPLOADS, members(1001)), 400, ("1000 members",),
        taken=422,
    ),
    "levels of it": Row(
        post(UPLOADS, BEGIN), post(UPLOADS, b"[" * MIB), 400, ("nested too deeply",), taken=201,
    ),
    "JSON of a training": Row(
        post(TRAIN, b'{"no": 1}' + b" " * (4 * MIB - 9)),
        post(TRAIN, b'{"no": 1}' + b" " * (4 * MIB - 8)),
        413, ("4194304", "files"), taken=422,
    ),
    "the whole request": Row(
        post("/v2/models/files/predict/", b"a" * (8 * MIB), kind="image/png"),
        post("/v2/models/files/predict/", b"a" * (8 * MIB + 1), kind="image/png"),
        413, ("8388608", "--client-max-size"),
    ),
    # forms
    "fields": Row(
        post(PREDICT, b"&".join([b"numbers=1"] * 1000), kind=URLENCODED),
        post(PREDICT, b"&".join([b"numbers=1"] * 1001), kind=URLENCODED),
        413, ("form", "1000 fields"),
    ),
    "parts": Row(
        form(*[part("numbers")] * 1000), form(*[part("numbers")] * 1001), 413,
        ("form", "1000 fields and files"),
    ),
    "fields of a training": Row(
        form(part("no", b"a" * 4 * MIB), path=TRAIN),
        form(part("no", b"a" * (4 * MIB + 1)), path=TRAIN),
        413, ("fields", "4194304", "files"), taken=422,
    ),
    "a line of a part's head": Row(
        form(part("text", b"a", "X-A: " + "a" * 8000)),
        form(part("text", b"a", "X-A: " + "a" * 9000)),
        400, ("part's head", "8190"),
    ),
    "headers of a part": Row(
        form(part("text", b"a", *["X-A: a"] * 100)), form(part("text", b"a", *["X-A: a"] * 200)),
        400, ("headers",),
    ),
    "heads of all parts": Row(
        form(*[part("numbers", b"1", *["X-A: a"] * 10)] * 1000),
        form(*[part("numbers", b"1", *["X-A: a"] * 60)] * 1000),
        413, ("heads", "20000 lines", "Content-Disposition"),
    ),
    "what stands before a form": Row(
        form(part("text"), before=b"\r\n" * 10), form(part("text"), before=b"\r\n" * 100_000),
        400, ("boundary", "16 lines"),
    ),
    "a boundary": Row(
        form(part("text"), boundary="b" * 70), form(part("text"), boundary="b" * 71), 400,
        ("boundary", "70 chars"),
    ),
    "the name of a file": Row(
        form(part("upload", filename="a" * 5000), path="/v2/models/files/predict/"),
        form(part("upload", filename="a" * 9000), path="/v2/models/files/predict/"),
        400, ("part's head", "8190"),
    ),
    "a charset": Row(
        form(part("text", b"\xe4", "Content-Type: text/plain; charset=iso-8859-1")),
        form(part("text", b"a" * MIB, "Content-Type: text/plain; charset=punycode")),
        400, ("text", "punycode", "UTF-8"),
    ),
    "a charset of all fields": Row(
        form(part("text")), form(part("_charset_", b"a" * 50), part("text")), 400, ("charset",),
    ),
    "a form of a browser that signs in": Row(
        post("/sign-in", b"key=" + b"a" * 16_000, kind=URLENCODED),
        post("/sign-in", b"key=" + b"a" * 17_000, kind=URLENCODED),
        413, ("form", "16384"), taken=401,
    ),
    "files of a browser that signs in": Row(
        post("/sign-in", b"key=a", kind=URLENCODED),
        form(part("key", b"a" * 100_000, filename="a"), path="/sign-in"),
        415, (URLENCODED,), taken=401,
    ),
    # packed bodies
    "members of gzip": Row(
        post(PREDICT, packed(1000), GZIP), post(PREDICT, packed(1001), GZIP), 400,
        ("1000 gzip members",),
    ),
    "a ratio": Row(
        post(PREDICT, gzip.compress(b"{}" + b" " * (7 * MIB)), GZIP),
        post(PREDICT, gzip.compress(b"{}" + b" " * (8 * MIB)), GZIP),
        413, ("8388608", "--client-max-size"),
    ),
    "gzip that ends too early": Row(
        post(PREDICT, gzip.compress(b"{}"), GZIP), post(PREDICT, gzip.compress(b"{}")[:-3], GZIP),
        400, ("gzip", "too early"),
    ),
    "a coding": Row(
        post(PREDICT, gzip.compress(b"{}"), GZIP), post(PREDICT, b"x", "Content-Encoding: br"),
        415, ("Content-Encoding", "gzip"),
    ),
    "two codings": Row(
        post(PREDICT, gzip.compress(b"{}"), GZIP),
        post(PREDICT, gzip.compress(b"{}"), "Content-Encoding: gzip, gzip"),
        415, ("Content-Encoding", "gzip"),
    ),
    "a coding where none is taken": Row(
        post(UPLOADS, BEGIN), post(UPLOADS, gzip.compress(BEGIN), GZIP), 415,
        ("Content-Encoding",), taken=201,
    ),
    "a coding of who signs in": Row(
        post("/sign-in", b"key=a", kind=URLENCODED),
        post("/sign-in", gzip.compress(b"key=a"), GZIP, kind=URLENCODED),
        415, ("Content-Encoding",), taken=401,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,files", "--no-warm-start", "--client-max-size=8M")
    for model in ("kinds", "files"):
        server.wait_ready(model)
    return server


def ask(server, request):
    """Status and body of the answer, on a connection of its own."""
    with Talk(server) as talk:
        talk.socket.sendall(request)
        status, _, body = talk.answer()
        return status, body.decode("utf-8", "replace")


def cpu_s(server):
    """Seconds of processor that the front has used (proc(5))."""
    fields = (server.proc() / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("what", ROWS)
def test_at_the_limit_it_is_taken_and_beyond_it_is_refused_in_words(server, what):
    row = ROWS[what]
    status, told = ask(server, row.at)
    assert status == row.taken, told[:500]
    before = cpu_s(server)
    status, told = ask(server, row.beyond)
    assert status == row.status, told[:500]
    assert [word for word in row.words if word not in told] == [], told[:500]
    assert len(told) < 4 * KIB, "what was sent does not come back"
    assert cpu_s(server) - before < 2
    assert ask(server, get("/healthz"))[0] == 200


def test_of_many_wrong_arguments_the_first_are_told(server):
    sent = b'{"numbers": [%s]}' % b", ".join([b'"x"'] * 5000)
    status, told = ask(server, post(PREDICT, sent))
    faults = json.loads(told)["numbers"]
    assert status == 422 and len(faults) == 101
    assert faults["99"] == ["Not a valid integer."]
    assert faults["100"] == ["More is wrong: only the first 100 faults are told."]


@pytest.fixture(scope="module")
def bomb():
    """2 MB that would be 512 MB."""
    return gzip.compress(b"0" * (64 * MIB), 1) * 8


@pytest.mark.parametrize(
    ("path", "coding"),
    [("/v2/nowhere", "gzip"), (PREDICT, "gzip"), (PREDICT, "deflate"), (PREDICT, "zstd")],
)
def test_what_is_refused_is_not_unpacked_either(server, bomb, path, coding):
    before = cpu_s(server)
    status, told = ask(server, post(path, bomb, f"Content-Encoding: {coding}"))
    assert 400 <= status < 500, told
    assert cpu_s(server) - before < 2, "unpacking it would take that for each 300 MB"


def test_lines_that_swell_are_refused_before_they_are_many_calls(server):
    sent = gzip.compress(b"{}\n" * 200_000)
    with Talk(server) as talk:
        talk.socket.sendall(post(PREDICT, sent, GZIP, kind=LINES))
        status, _, body = talk.answer()
    last = max(map(json.loads, body.splitlines()), key=lambda line: line["index"])
    assert status == 200 and last["status"] == 413 and last["index"] == 1000, last
    assert "1000" in last["problem"]["detail"]


@pytest.mark.parametrize(
    "rest",
    [b"0\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", b"0\r\n" + b"X-A: a\r\n" * 200, b"zz\r\n"],
    ids=["a long trailer", "many trailers", "no size"],
)
def test_a_body_that_becomes_no_http_is_refused_at_once_and_only_once(server, rest):
    with Talk(server) as talk:
        talk.send(chunked(PREDICT, b"{}")[:-5], rest)
        status, _, body = talk.answer()
        assert status == 400, body
        assert talk.ended()


def test_requests_that_come_while_another_is_answered_are_answered_in_their_turn(server):
    with Talk(server) as talk:
        for _ in range(50):
            talk.socket.sendall(get("/v2/models/"))
            talk.socket.sendall(get("/healthz") * 3)
        for _ in range(200):
            assert talk.answer()[0] == 200
    assert "Fatal error" not in "".join(server.lines)


async def test_a_form_of_nothing_but_escapes_keeps_nobody_waiting():
    turns, reading = 0, asyncio.ensure_future(parse_form(b"text=" + b"%e2%82%ac" * 300_000))
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert await reading == [("text", "€" * 300_000)]
    assert turns > 30
