"""HEAD: the head of what GET answers and not a byte more, for those would be the next answer."""

import re

import pytest
from talk import Talk

PAGES = (
    *("/ui/", "/ui", "/api/", "/ui/swagger-ui.css", "/sign-in", "/sign-in/start", "/nothing"),
    *("/tensorboard", "/tensorboard/", "/tensorboard/index.js", "/tensorboard/data/runs"),
)


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter", "--no-warm-start", "--debug-endpoint")
    server.wait_ready("counter")
    return server


@pytest.fixture(scope="module")
def trained(server):
    return server.wait_run(server.train("counter", steps=2))


@pytest.fixture(scope="module")
def going_on(server, trained):
    run = server.train("counter", steps=100_000, seconds=0.01)
    yield server.wait_run(run, "training")
    server.delete(run["links"]["self"])


def asked(server, path):
    """The status of a HEAD; the next request on the connection is answered, with nothing before."""
    with Talk(server) as talk:
        talk.send(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = talk.socket.recv(1)
            assert piece, (path, head)
            head += piece
        talk.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert talk.socket.recv(15) == b"HTTP/1.1 200 OK", path
    return int(head.split()[1])


def test_whatever_has_a_get_answers_head_with_its_head_alone(server, trained):
    of = {"model": "counter", "alias": "latest", "version": trained["weights"], "name": "last"}
    paths = server.get("/openapi.json").json()["paths"]
    known = [path for path, operations in paths.items() if "get" in operations]
    assert len(known) > 30
    for path in (*known, *PAGES, "/v2/models/counter/train/?limit=1"):
        path = path.replace("/train/{id}", f"/train/{trained['uuid']}")
        path = path.replace("/weights/{id}", f"/weights/{trained['weights']}")
        path = re.sub(r"{(\w+)}", lambda found: of.get(found[1], "0" * 32), path)
        got = server.get(path, allow_redirects=False)
        assert asked(server, path) == got.status_code, path


@pytest.mark.parametrize("what", ["events", "events?log=true", "log?follow=true", "log", ""])
def test_of_an_answer_that_goes_on_it_does_not_wait_for_the_end(server, going_on, what):
    assert asked(server, f"{going_on['links']['self']}/{what}".rstrip("/")) == 200
