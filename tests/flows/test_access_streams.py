"""Keys that end while they are used: answers that go on for hours end with them."""

import json
import re
import threading
import time
from contextlib import suppress

import pytest
import requests
from talk import Talk, post
from yard_callers import KINDS, line
from yard_keys import end_key, id_of, put_key
from yard_waiting import wait_until


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "kinds,counter,batcher,stepper"),
        *("--client-calls", "3", "--max-trainings", "2"),
    )
    for model in ("kinds", "counter", "batcher", "stepper"):
        server.wait_ready(model)
    server.hold = server.home / "hold"
    server.running = server.train("counter", steps=2, hold=str(server.hold))
    server.wait_run(server.running, "training")
    server.key = put_key(server.home, "all", "read", "predict", "train")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    yield server
    server.hold.touch()


class Reader(threading.Thread):
    """Reads a stream until it ends."""

    def __init__(self, server, path, headers=None, cookies=None):
        super().__init__(daemon=True)
        self.answer = requests.get(
            server.url + path, headers=headers, cookies=cookies, stream=True, timeout=90
        )
        assert self.answer.status_code == 200
        self.got = b""
        self.start()
        wait_until(lambda: self.got)

    def run(self):
        with suppress(Exception):  # closed by the test
            for chunk in self.answer.iter_content(None):
                self.got += chunk

    def ended(self):
        self.join(60)
        return not self.is_alive()


def streams(server):
    own = server.running["links"]["self"]
    return [f"{own}/events?log=1", f"{own}/log?follow=1"]


def test_a_stream_ends_when_its_key_is_revoked_and_goes_on_for_others(server):
    key = put_key(server.home, "watcher", "read")
    mine = [Reader(server, path, key) for path in streams(server)]
    others = [Reader(server, path, server.key) for path in streams(server)]
    assert end_key(server.home, id_of(key)) == [id_of(key)]
    assert all(one.ended() for one in mine)
    time.sleep(1)
    assert all(one.is_alive() for one in others), "the run goes on, and so do they"
    assert server.get(streams(server)[0], headers=key).status_code == 401


def test_a_stream_ends_when_its_key_expires(server):
    key = put_key(server.home, "brief", "read", lasts_s=4)
    reader = Reader(server, streams(server)[0], key)
    assert reader.ended()
    assert server.get("/v2/models/", headers=key).status_code == 401


def test_a_stream_ends_when_its_browser_signs_out(server):
    own = {"Origin": server.url}
    with requests.Session() as session:
        text = server.key["Authorization"].removeprefix("Bearer ")
        session.post(server.url + "/sign-in", data={"key": text}, headers=own, timeout=60)
        reader = Reader(server, streams(server)[0], cookies=dict(session.cookies))
        session.post(server.url + "/sign-out", headers=own, timeout=60)
    assert reader.ended()


def test_lines_of_a_request_that_goes_on_are_refused_when_its_key_is_revoked(server):
    key = put_key(server.home, "lines", "predict")
    with Talk(server) as talk:
        head = [f"POST {KINDS} HTTP/1.1", "Host: localhost", "Content-Type: application/x-ndjson"]
        head += ["Transfer-Encoding: chunked", line(key), "", ""]
        talk.send("\r\n".join(head).encode())
        sent = b'{"text": "a"}\n'
        talk.send(b"%x\r\n%s\r\n" % (len(sent), sent))
        got = talk._until(lambda got: b'"index":0' in got)
        assert b'"status":200' in got
        assert end_key(server.home, id_of(key)) == [id_of(key)]
        wait_until(lambda: answers(server, key) == {401})
        talk.send(b"%x\r\n%s\r\n" % (len(sent), sent))
        got = talk._until(lambda got: b'"index":1' in got and b"not-signed-in" in got)
    (last,) = [part for part in got.split(b"\r\n") if b'"index":1' in part]
    told = json.loads(last)
    assert told["status"] == 401 and told["problem"]["type"] == "urn:modelyard:not-signed-in"


def test_a_key_that_is_revoked_while_many_use_it_is_refused_to_all_and_no_call_is_torn(server):
    """Each call is let in or refused as a whole, on connections that are open too."""
    key = put_key(server.home, "crowd", "predict")
    stop, told = threading.Event(), []

    def call():
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(
                    server.url + KINDS, json={"text": "a"}, headers=key, timeout=60
                )
                told.append((answer.status_code, answer.headers["Content-Type"]))
                if answer.status_code == 401:
                    return

    clients = [threading.Thread(target=call) for _ in range(3)]
    for client in clients:
        client.start()
    wait_until(lambda: len(told) > 20)
    assert end_key(server.home, "crowd")
    for client in clients:
        client.join(60)
    stop.set()
    assert {status for status, _ in told} <= {200, 401, 429}
    assert [status for status, _ in told].count(401) == len(clients), "each of them hears of it"


def test_two_operators_make_and_revoke_keys_at_the_same_time(server):
    """Nothing of what either did is lost, and the server knows all of it."""
    made, errors = [], []

    def work(number):
        try:
            for turn in range(10):
                key = put_key(server.home, f"both{number}", "predict")
                made.append((key, turn % 2 == 1))
                if turn % 2 == 1:
                    assert end_key(server.home, id_of(key)) == [id_of(key)]
        except AssertionError as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert errors == [] and len(made) == 20
    for key, revoked in made:
        expected = {401 if revoked else 200}
        wait_until(lambda key=key, expected=expected: answers(server, key) == expected)


def test_the_limit_of_calls_is_each_principals_own_not_their_address(server):
    """Two keys of one name are one caller; another name from the same address is another."""
    first, second = (put_key(server.home, "ann", "predict") for _ in range(2))
    other = put_key(server.home, "ben", "predict")
    call = b'{"n": 1, "seconds": 60}'
    with Talk(server) as one, Talk(server) as two, Talk(server) as three:
        for talk, key in ((one, first), (two, first), (three, second)):
            talk.send(post("/v2/models/batcher/predict/", call, line(key)))
        # A question of ours would be counted, and could take the place of one of them.
        wait_until(lambda: under_way(server, "batcher") == 3)
        assert answers(server, first) == {429}
        assert answers(server, second) == {429}
        assert answers(server, other) == {200}
    wait_until(lambda: answers(server, first) == {200})


def under_way(server, model):
    """Calls that wait, or that a worker has."""
    page = server.get("/metrics", headers=server.key).text
    found = re.findall(rf'_(?:queue|worker)_items{{model="{model}"}} (\d+)', page)
    return sum(map(int, found))


def answers(server, key):
    """What a call is answered by the lane and by the framework."""
    short = server.post(KINDS, json={"text": "a"}, headers=key)
    long = server.post(KINDS, json={"text": "a"}, headers={**key, "Cookie": "a=b"})
    return {short.status_code, long.status_code}


def test_idempotency_keys_are_each_principals_own(server):
    """What one has made is neither told to another nor in their way; two keys of a name are one."""
    first, rotated = (put_key(server.home, "cleo", "read", "train") for _ in range(2))
    other = put_key(server.home, "dora", "read", "train")

    def upload(headers, size=20):
        body = {"filename": "a.zip", "size": size}
        return server.post("/v2/datasets/uploads/", json=body, headers=headers)

    def dataset(headers, size=20):
        files = {"file": ("rows.csv", b"1,2\n" * size)}
        return server.post("/v2/datasets/?name=rows", files=files, headers=headers)

    def train(headers, size=20):
        return server.post("/v2/models/counter/train/", json={"steps": size}, headers=headers)

    for make in (upload, dataset, train):
        again = {"Idempotency-Key": f"of-{make.__name__}"}
        made = make({**first, **again})
        assert made.ok, made.text
        assert make({**rotated, **again}).headers["Location"] == made.headers["Location"]
        assert make({**first, **again}, size=21).status_code == 409
        theirs = make({**other, **again}, size=21)
        assert theirs.status_code == made.status_code, theirs.text
        assert theirs.headers["Location"] != made.headers["Location"]
        assert make({**first, **again}).headers["Location"] == made.headers["Location"]


def test_steering_a_training_with_the_same_key_is_each_principals_own(server):
    """Of a resumed training nobody is given another one's answer; who may not gets none at all."""
    ann, dora = (put_key(server.home, name, "read", "train") for name in ("ann", "dora"))
    reader = put_key(server.home, "reader", "read")
    same = {"Idempotency-Key": "the very same"}
    begun = {**ann, "Idempotency-Key": "another"}
    train, args = "/v2/models/stepper/train/", {"steps": 100_000, "seconds": 0.05}
    run = f"{train}{server.post(train, json=args, headers=begun).json()['uuid']}"

    def ask(what, principal):
        method = "DELETE" if what == "cancel" else "POST"
        path = run if what == "cancel" else f"{run}/{what}"
        return requests.request(
            method, server.url + path, headers={**principal, **same}, timeout=60
        )

    def is_in(phase):
        wait_until(lambda: server.get(run, headers=ann).json()["phase"] == phase, 60)

    wait_until(lambda: server.get(f"{run}/checkpoints", headers=ann).json()["last"], 60)
    assert [ask("pause", who).status_code for who in (reader, ann, dora, ann)] == [
        403, 200, 200, 200,
    ]  # fmt: skip
    is_in("paused")
    assert ask("resume", reader).status_code == 403
    assert ask("resume", ann).status_code == 200
    is_in("training")
    assert ask("resume", ann).status_code == 200, "said again, though there is nothing to resume"
    assert ask("resume", dora).status_code == 409, "she has not resumed it"
    assert [ask("cancel", who).status_code for who in (reader, ann, dora, ann)] == [
        403, 200, 200, 200,
    ]  # fmt: skip
    is_in("finished")
    # Resuming an ended one makes a new one: for the same key each principal has one.
    assert ask("resume", ann).json()["resumed_from"] is None, "what she asked was answered"
    made = {ask("resume", dora).json()["uuid"] for _ in range(2)}
    assert len(made) == 1 and not run.endswith(made.pop())
    listed = server.get(train, headers=ann).json()
    assert len([one for one in listed if one["resumed_from"]]) == 1
    for one in listed:
        requests.delete(f"{server.url}{train}{one['uuid']}", headers=ann, timeout=60)
