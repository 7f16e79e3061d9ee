"""What the tests of stores stand on: the servers, and the proxy that breaks the way to them."""

import http.client

import pytest

# moto looks at the form of a signature only.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=testkey/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
}


def ask(port: int, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
    try:
        connection.request(method, target, body, SIGNED)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_proxy_without_faults_changes_nothing(moto):
    way = moto.proxied()
    assert ask(way.port, "PUT", "/yard/a", b"some bytes")[0] == 200
    assert (
        ask(way.port, "GET", "/yard/a") == ask(moto.port, "GET", "/yard/a") == (200, b"some bytes")
    )
    assert ask(way.port, "HEAD", "/yard/a") == (200, b"")
    assert ask(way.port, "DELETE", "/yard/a")[0] == 204
    assert ("HEAD", "/yard/a") in way.faults.requests


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("500", 500),
        ("503", 503),
        ("drop", OSError),
        ("truncate", http.client.IncompleteRead),
        ("hang", TimeoutError),
        ("hang_body", TimeoutError),
        ("flip_download", b"some cytes"),
        ("lost_answer", OSError),
        ("down", OSError),
    ],
)
def test_a_fault_breaks_one_request_and_then_ends(moto, kind, seen):
    way = moto.proxied()
    ask(way.port, "PUT", "/yard/b", b"some bytes")
    way.faults.add(kind, "GET")
    if isinstance(seen, type):
        with pytest.raises(seen):
            ask(way.port, "GET", "/yard/b")
    else:
        assert seen in ask(way.port, "GET", "/yard/b")
    assert ask(way.port, "GET", "/yard/b") == (200, b"some bytes")


def test_a_bit_flipped_on_the_way_up_is_stored_so(moto):
    way = moto.proxied()
    way.faults.add("flip_upload", "PUT")
    ask(way.port, "PUT", "/yard/c", b"some bytes")
    assert ask(moto.port, "GET", "/yard/c")[1] == b"some cytes"


def test_rclone_refuses_who_does_not_sign(rclone):
    assert ask(rclone.port, "GET", "/yard")[0] == 400
