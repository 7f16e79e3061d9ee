"""Behind a proxy: whom a request comes from, and what the server calls itself; TLS of its own."""

import json
import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
import requests
from talk import Talk, post

KINDS = "/v2/models/kinds/predict/"
FORWARDED = "X-Forwarded-For: 203.0.113.9, 198.51.100.7"


@pytest.fixture(scope="module")
def trusting(serve_module):
    server = serve_module(
        *("--model-name", "kinds", "--no-warm-start", "--public-url", "https://yard.example/a/"),
        *("--trusted-proxies", "127.0.0.1,192.0.2.0/24"),
    )
    server.wait_ready("kinds")
    return server


@pytest.fixture(scope="module")
def wary(serve_module):
    server = serve_module("--model-name", "kinds", "--no-warm-start")
    server.wait_ready("kinds")
    return server


def peers(server, *headers):
    """Whom the access log names for a call by either way."""
    marks = []
    for number, more in enumerate(([], ["Cookie: a=b"])):
        marks.append(f"{time.monotonic_ns():032x}"[:31] + str(number))
        trace = f"traceparent: 00-{marks[-1]}-00f067aa0ba902b7-01"
        with Talk(server) as talk:
            talk.send(post(KINDS, b"{}", trace, *headers, *more))
            assert talk.answer()[0] == 200
    found = {}
    until = time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < until:
        time.sleep(0.05)
        for line in list(server.lines):
            if line.startswith("{") and any(mark in line for mark in marks):
                told = json.loads(line)
                found[told["trace"]] = told["peer"]
    return set(found.values())


def test_a_trusted_proxy_tells_whose_request_it_is(trusting):
    assert peers(trusting, FORWARDED) == {"198.51.100.7"}
    assert peers(trusting, FORWARDED + ", 192.0.2.5") == {"198.51.100.7"}
    assert peers(trusting) == {"127.0.0.1"}
    assert peers(trusting, "X-Forwarded-For: not an address") == {"127.0.0.1"}


def test_nobody_else_is_believed(wary):
    assert peers(wary, FORWARDED) == {"127.0.0.1"}


def test_what_is_no_http_is_refused_as_ever_behind_a_proxy(trusting):
    with Talk(trusting) as talk:
        talk.send(b"nothing\r\n\r\n")
        assert talk.socket.recv(65536).startswith(b"HTTP/1.0 400 ")


def test_a_client_has_its_own_count_of_calls_behind_a_proxy(start_server):
    server = start_server(
        *("--model-name", "batcher", "--no-warm-start", "--client-calls", "1"),
        *("--trusted-proxies", "127.0.0.1"),
    )
    server.wait_ready("batcher")
    path = "/v2/models/batcher/predict/"
    with Talk(server) as first, Talk(server) as second, Talk(server) as third:
        first.send(post(path, b'{"seconds": 3}', "X-Forwarded-For: 203.0.113.1"))
        time.sleep(0.5)
        second.send(post(path, b"{}", "X-Forwarded-For: 203.0.113.1"))
        assert second.answer()[0] == 429
        third.send(post(path, b"{}", "X-Forwarded-For: 203.0.113.2"))
        assert third.answer()[0] == 200
        assert first.answer()[0] == 200


# -- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """Makes a certificate for `localhost`; each call is another one."""

    def make(cert="cert.pem", key="key.pem"):
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        paths = ["-keyout", str(tmp_path / key), "-out", str(tmp_path / cert)]
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", *subject, *paths],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path / cert, tmp_path / key

    return make


def test_the_port_speaks_tls_with_our_certificate_by_both_ways_and_nothing_else(
    start_server, certificate
):
    cert, key = certificate()
    server = start_server(
        *("--model-name", "kinds", "--no-warm-start", "--tls-cert", str(cert)),
        *("--tls-key", str(key), "--client-timeout", "5"),
    )
    assert server.url.startswith("https://")
    url = f"https://localhost:{urlsplit(server.url).port}"
    with requests.Session() as session:
        session.verify, session.trust_env = str(cert), False
        until = time.monotonic() + 60
        while session.get(f"{url}/readyz?model=kinds", timeout=30).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        for headers in ({}, {"Cookie": "a=b"}):  # the lane's, and the framework's
            answer = session.post(url + KINDS, json={"text": "x" * 300_000}, headers=headers)
            assert answer.status_code == 200
            assert len(answer.json()["predictions"]["text"][1]) == 300_000
        answer = session.post(
            url + KINDS, json={}, headers={"Origin": url, "Sec-Fetch-Site": "same-origin"}
        )
        assert answer.status_code == 200
        other = url.replace("https:", "http:")  # a page that anybody on the way may have written
        assert session.post(url + KINDS, json={}, headers={"Origin": other}).status_code == 403
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)  # nobody vouches for it
    check_commands(url, cert)
    with Talk(server) as talk:
        talk.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not talk.socket.recv(65536).startswith(b"HTTP")
    assert "Traceback" not in "".join(server.lines)


def check_commands(url, cert):
    """Whom commands trust is the system's and the user's say, and they tell what to do."""

    def models(address, **environ):
        return subprocess.run(
            [sys.executable, "-P", "-m", "modelyard", "models", "--url", address],
            env={**os.environ, **environ}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    trusting = models(url, SSL_CERT_FILE=str(cert))
    assert trusting.returncode == 0 and "kinds" in trusting.stdout, trusting.stderr
    for address, words in (
        (url, "its certificate is not trusted: self-signed certificate. SSL_CERT_FILE"),
        (url.replace("localhost", "127.0.0.1"), "127.0.0.1"),
    ):
        refused = models(address)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_a_certificate_that_cannot_be_used_is_told_before_anything_is_loaded(
    start_server, certificate
):
    cert, _ = certificate()
    _, other = certificate("other.pem", "other-key.pem")
    for flags in (["--tls-cert", f"{cert}.none"], ["--tls-key", str(other)],
                  ["--tls-cert", str(cert), "--tls-key", str(other)]):  # fmt: skip
        server = start_server("--model-name", "kinds", *flags, wait=False)
        assert server.process.wait(60) == 2
        assert "--tls-cert" in "".join(server.lines)


def test_the_public_address_is_told_at_the_start_and_answered_to(trusting):
    assert any("https://yard.example/a" in line for line in trusting.lines)
    answer = requests.post(
        trusting.url + KINDS, json={}, headers={"Host": "yard.example"}, timeout=30
    )
    assert answer.status_code == 200
