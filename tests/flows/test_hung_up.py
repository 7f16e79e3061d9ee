"""Clients that hang up while what they asked for is being written: it is done whole, and told."""

import json
import socket
import sqlite3
import struct
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest
import requests
from yard_callers import audit
from yard_waiting import wait_until

COUNTER = "/v2/models/counter"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter", "--no-warm-start")
    server.wait_ready("counter")
    return server


@contextmanager
def locked(server):
    """Another one writes to the records: whoever wants to waits, for some seconds."""
    with closing(sqlite3.connect(server.home / "records.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def is_waiting(server):
    """Whether the server waits for its records: one thread asks for all."""
    try:
        requests.get(f"{server.url}/readyz", timeout=1)
    except requests.ReadTimeout:
        return True
    return False


def hung_up(server, method, path, body):
    """Sends a request, and is gone as soon as the server is at it."""
    sent = json.dumps(body).encode()
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port))) as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        wait_until(lambda: is_waiting(server))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_an_alias_whose_mover_hung_up_moves_the_predictions_too(server):
    old, new = (server.wait_run(server.train("counter", steps=n))["weights"] for n in (1, 2))
    production = f"{COUNTER}/weights/aliases/production"
    moved = requests.put(server.url + production, json={"version": old}, timeout=30)
    assert moved.status_code == 200
    wait_until(lambda: server.predict("counter").headers["X-Modelyard-Weights"] == old)
    with locked(server):
        hung_up(server, "PUT", production, {"version": new})
    listed = f"{COUNTER}/weights/aliases/"
    wait_until(
        lambda: (
            {"production": new}.items()
            <= {one["name"]: one["version"] for one in server.get(listed).json()["aliases"]}.items()
        )
    )
    wait_until(lambda: server.predict("counter").headers["X-Modelyard-Weights"] == new)


def test_what_came_of_it_is_in_the_audit_log(server):
    train = f"{COUNTER}/train/"
    before = {run["uuid"] for run in server.get(train).json()}
    with locked(server):
        hung_up(server, "POST", train, {"steps": 1})
    wait_until(lambda: len(server.get(train).json()) > len(before))
    (made,) = {run["uuid"] for run in server.get(train).json()} - before
    wait_until(lambda: made in [one.get("made") for one in audit(server, "changes.jsonl")])
    told = next(one for one in audit(server, "changes.jsonl") if one.get("made") == made)
    assert (told["status"], told["done"], told["method"]) == (499, True, "POST")
