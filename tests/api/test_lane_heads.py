"""The short way takes only heads that the framework's own parser reads in the same way."""

import asyncio

import pytest
from aiohttp.http_parser import HttpRequestParserPy
from hypothesis import given
from hypothesis import strategies as st
from yard_examples import examples

from modelyard.api.lane.answers import begin
from modelyard.api.lane.heads import read_post

PLAIN = (
    "POST /v2/models/m/predict/ HTTP/1.1\r\nHost: localhost:5000\r\nContent-Length: 12\r\n"
    "Content-Type: application/json; charset=utf-8\r\nAccept: */*\r\n\r\n"
)


def by_the_framework(head: bytes):
    """Method, target and headers; None if it refuses."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParserPy(_Protocol(loop), loop, 2**16)
        messages, _, _ = parser.feed_data(head)
    except Exception:
        return None
    finally:
        loop.close()
    if not messages:
        return None
    message = messages[0][0]
    return message.method, message.path, message


class _Protocol:
    def __init__(self, loop):
        self._loop = loop
        self._reading_paused = False

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


def test_a_plain_head_is_read():
    head = read_post(PLAIN.encode())
    assert (head.target, head.length, head.keeps_alive) == ("/v2/models/m/predict/", 12, True)
    assert head.content_type == "application/json"
    assert head.headers["host"] == "localhost:5000"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POST", "PUT"),
        ("POST ", "POST  "),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ("Host: localhost:5000\r\n", ""),
        ("Host: localhost:5000\r\n", "Host: a\r\nHost: b\r\n"),
        ("Host:", "Host :"),
        ("Content-Length: 12\r\n", ""),
        ("Content-Length: 12", "Content-Length: 12\r\nContent-Length: 12"),
        ("Content-Length: 12", "Content-Length: +12"),
        ("Content-Length: 12", "Content-Length: 12, 12"),
        ("Content-Length: 12", "Content-Length: 0x12"),
        ("Content-Length: 12", "Content-Length: \x0b12"),
        ("Content-Length: 12", "Content-Length: 99999999999"),
        ("Content-Length: 12", "Content-Length: 12\r\nTransfer-Encoding: chunked"),
        ("Accept: */*", "Transfer-Encoding: identity"),
        ("Accept: */*", "Transfer\u2010Encoding: chunked"),
        ("Accept: */*", "Accept: a\r\n folded"),
        ("Accept: */*", "Accept: a\r\n\tfolded"),
        ("Accept: */*", "Accept: a\0b"),
        ("Accept: */*", "Accept: a\rb"),
        ("Accept: */*", "no colon"),
        ("Accept: */*", ": no name"),
        ("Accept: */*", "Expect: 100-continue"),
        ("Accept: */*", "Upgrade: websocket"),
        ("Accept: */*", "Connection: upgrade"),
        ("Accept: */*", "Content-Encoding: gzip"),
        ("Accept: */*", "Origin: http://elsewhere"),
        ("Accept: */*", "Cookie: a=b"),
        ("Accept: */*", "Sec-Fetch-Site: cross-site"),
        ("Accept: */*", "Accept: \u00e9"),
        ("Accept: */*", "Accept: " + "a" * 20_000),
    ],
)
def test_what_readers_may_read_differently_is_left_to_the_framework(old, new):
    assert old in PLAIN
    assert read_post(PLAIN.replace(old, new, 1).encode("latin-1", "replace")) is None


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["Host: a", "Content-Length: 3", "Connection: close", "Accept: b", "X-A:c", "X-B:  d "]
        ),
        st.text(st.characters(max_codepoint=255), max_size=12),
        st.text("aA:-_ \t\r\n\0;,=1\x7f", max_size=12),
    ),
    max_size=6,
)


@examples(400)
@given(
    st.sampled_from(
        ["POST / HTTP/1.1", "POST /a?b HTTP/1.1", "POST /\t HTTP/1.1", "POST * HTTP/1.1"]
    ),
    LINES,
)
def test_a_head_that_is_taken_says_the_same_to_the_framework(first, lines):
    text = "\r\n".join([first, "Host: a", "Content-Length: 3", *lines, "", ""]).encode("latin-1")
    text = text[: text.find(b"\r\n\r\n") + 4]
    ours = read_post(text)
    if ours is None:
        return
    theirs = by_the_framework(text + b"abc")
    assert theirs is not None, text
    method, path, message = theirs
    assert (method, path) == ("POST", ours.target)
    assert {name.lower(): value for name, value in message.headers.items()} == ours.headers
    assert len(message.headers) == len(ours.headers)
    assert message.should_close is not ours.keeps_alive
    assert not message.chunked and not message.upgrade and message.compression is None


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "a\u2028b"])
def test_no_header_of_a_model_becomes_two(value):
    with pytest.raises(ValueError, match="not a header"):
        begin(200, {"Content-Type": value})
    with pytest.raises(ValueError, match="not a header"):
        begin(200, {value: "a"})
