"""JSON lines to predict: each line a call of its own, answered as it finishes."""

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "kinds,files,hostile,batcher", "--no-warm-start")
    for model in ("kinds", "files", "hostile", "batcher"):
        server.wait_ready(model)
    return server


def ask(server, model, *lines, headers=None, **more):
    body = b"\n".join(
        line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
    )
    headers = {**LINES, **(headers or {})}
    return server.predict(model, data=body, headers=headers, **more)


def told(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    return {line["index"]: line for line in lines}


@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/jsonl", "application/json-lines"]
)
def test_each_line_is_answered_under_its_index(server, kind):
    lines = told(
        ask(server, "kinds", *({"whole": n} for n in range(5)), headers={"Content-Type": kind})
    )
    assert sorted(lines) == [0, 1, 2, 3, 4]
    assert all(lines[n]["answer"]["predictions"]["whole"] == ["int", n] for n in lines)
    assert all(line["status"] == 200 for line in lines.values())


def test_a_bad_line_fails_alone_with_what_a_call_would_be_told(server):
    lines = told(ask(server, "kinds", {"whole": 1}, {"whole": 99}, b"{", b"[]", {"whole": 2}))
    assert {n: line["status"] for n, line in lines.items()} == {
        0: 200,
        1: 422,
        2: 400,
        3: 400,
        4: 200,
    }
    assert list(lines[1]["errors"]) == ["whole"]
    assert "JSON" in lines[2]["problem"]["message"]


def test_empty_lines_are_skipped_and_do_not_count(server):
    lines = told(ask(server, "kinds", b"", {"whole": 1}, b"  \r", b"", {"whole": 2}, b""))
    assert sorted(lines) == [0, 1]


def test_no_lines_at_all_is_an_empty_answer(server):
    assert told(ask(server, "kinds", b"\n\n")) == {}


def test_query_arguments_go_for_every_line(server):
    lines = told(ask(server, "kinds", {"whole": 1}, {"whole": 2}, params={"text": "all"}))
    assert [lines[n]["answer"]["predictions"]["text"][1] for n in (0, 1)] == ["all", "all"]


def test_accepting_json_lines_is_accepting_what_stands_in_them(server):
    answer = ask(server, "kinds", {"whole": 1}, headers={"Accept": "application/x-ndjson"})
    assert told(answer)[0]["status"] == 200


def test_lines_are_batched_with_each_other(server):
    calls = ({"n": n, "seconds": 0.002} for n in range(200))
    lines = told(ask(server, "batcher", *calls))
    assert len(lines) == 200
    assert all(lines[n]["answer"]["predictions"]["n"] == n for n in lines)
    assert max(line["answer"]["predictions"]["together"] for line in lines.values()) > 4


def test_a_line_that_kills_the_worker_does_not_end_the_others(server):
    lines = told(ask(server, "hostile", {"do": "exit"}, *({"do": "answer"} for _ in range(3))))
    assert lines[0]["status"] == 500
    assert [lines[n]["status"] for n in (1, 2, 3)] == [200, 200, 200]


def test_each_line_has_the_deadline(server):
    headers = {"X-Request-Timeout": "1"}
    lines = told(ask(server, "hostile", {"do": "hang"}, headers=headers))
    assert lines[0]["status"] == 504


def test_a_model_that_needs_a_file_refuses_each_line(server):
    assert told(ask(server, "files", {}))[0]["status"] == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"X-Request-Timeout": "never"}, 422), ({"X-Modelyard-Weights": "none-such"}, 422)],
)
def test_what_is_wrong_with_the_request_as_a_whole_is_its_status(server, headers, status):
    assert ask(server, "kinds", {"whole": 1}, headers=headers).status_code == status


def test_a_client_that_sends_slowly_gets_answers_meanwhile(server):
    connection = begun(server)
    send(connection, b'{"whole": 1}\n{"whole"')
    answer = connection.getresponse()
    assert json.loads(answer.readline())["index"] == 0
    send(connection, b": 2}\n")
    assert json.loads(answer.readline())["answer"]["predictions"]["whole"] == ["int", 2]
    connection.send(b"0\r\n\r\n")
    assert answer.read() == b""


def test_a_client_that_reads_nothing_before_it_has_sent_all_gets_all(server):
    """50 MB of answers: more than all sockets between hold, so that they wait in a file."""
    line = json.dumps({"anything": "x" * 50_000}).encode() + b"\n"
    lines = told(
        requests.post(f"{server.url}/v2/models/kinds/predict/", data=line * 1000, headers=LINES)
    )
    assert len(lines) == 1000
    assert {len(one["answer"]["predictions"]["anything"][1]) for one in lines.values()} == {50_000}
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_a_client_that_goes_takes_its_lines_along(server):
    connection = begun(server, "batcher")
    send(connection, b'{"seconds": 0.3}\n' * 60)
    time.sleep(0.2)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    began = time.monotonic()
    assert server.predict("batcher", json={"n": 7}).json()["predictions"]["n"] == 7
    assert time.monotonic() - began < 12  # all sixty would take 18; two batches had been sent
    until = time.monotonic() + 5
    while list((server.home / "tmp" / "calls").iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_a_line_without_end_is_refused_and_the_next_one_answered(server):
    long = b'{"text": "' + b"x" * (65 * 1024**2) + b'"}'
    lines = told(ask(server, "kinds", long, {"whole": 1}))
    assert {n: line["status"] for n, line in lines.items()} == {0: 413, 1: 200}


@pytest.fixture(scope="module")
def small_server(serve_module):
    server = serve_module("--model-name", "kinds", "--client-max-size", "1M", "--no-warm-start")
    server.wait_ready("kinds")
    return server


def test_a_request_beyond_the_limit_is_answered_as_far_as_it_was_read(small_server):
    server = small_server
    pieces = [json.dumps({"text": "x" * 1000}).encode() + b"\n"] * 2000
    answer = requests.post(
        f"{server.url}/v2/models/kinds/predict/", data=iter(pieces), headers=LINES, timeout=30
    )
    lines = told(answer)
    last = max(lines)
    assert 500 < last < 1100  # it is read in pieces
    assert lines[last]["status"] == 413
    assert {line["status"] for n, line in lines.items() if n != last} == {200}


def test_a_stopping_server_answers_what_it_has_read(small_server):
    server = small_server
    connection = begun(server)
    send(connection, b'{"whole": 1}\n')
    answer = connection.getresponse()
    assert json.loads(answer.readline())["status"] == 200
    server.process.terminate()
    last = json.loads(answer.readline())
    assert (last["index"], last["status"]) == (1, 503)
    connection.close()
    assert server.process.wait(15) == 0


def begun(server, model="kinds"):
    """A connection on which lines may be sent."""
    connection = connect(server)
    connection.putrequest("POST", f"/v2/models/{model}/predict/")
    connection.putheader("Content-Type", "application/x-ndjson")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    return connection


def connect(server):
    url = urlsplit(server.url)
    return http.client.HTTPConnection(url.hostname, url.port, timeout=20)


def send(connection, data):
    connection.send(b"%x\r\n%s\r\n" % (len(data), data))
