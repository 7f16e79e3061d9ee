"""Idempotency-Key: what creates is done once, however often it is asked for, kills between."""

import io
import sqlite3
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from yard_waiting import wait_until

from modelyard.api.routes import ROUTES

REPEATED_AS_THEY_ARE = {
    "predict": "makes nothing",
    "infer": "makes nothing",
    "infer_version_call": "makes nothing",
    "pause": "of a paused run nothing changes",
    "complete_upload": "an upload becomes one dataset, and remembers which",
    "retry_weights": "tries what is tried anyway",
    "retry_dataset": "tries what is tried anyway",
    "fetch_weights": "what is here is not fetched again",
}
"""POSTs that need no key, and why."""


def test_every_post_that_creates_takes_a_key(server):
    posts = {route.doc.operation_id: route for route in ROUTES if route.doc.method == "POST"}
    keyed = {name for name, route in posts.items() if route.once}
    assert keyed | {"train"} | set(REPEATED_AS_THEY_ARE) == set(posts)
    assert not keyed & set(REPEATED_AS_THEY_ARE)
    document = server.get("/openapi.json").json()
    for name in keyed:
        operation = document["paths"][posts[name].doc.path]["post"]
        names = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        assert "Idempotency-Key" in names and {"409", "422"} <= operation["responses"].keys()


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "stepper,counter", "--no-warm-start")
    for model in ("stepper", "counter"):
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def made(server):
    """Two versions of the model `counter`, `production` moved from the first to the second."""
    runs = [server.wait_run(server.train("counter", steps=steps)) for steps in (1, 2)]
    for run in runs:
        address = server.url + "/v2/models/counter/weights/aliases/production"
        assert requests.put(address, timeout=30, json={"version": run["weights"]}).ok
    return runs


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def begin(server, headers, size=20):
    body = {"filename": "a.zip", "size": size}
    return server.post("/v2/datasets/uploads/", json=body, headers=headers)


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), content)
    return stream.getvalue()


def test_same_request_gets_the_same_answer_and_makes_one(server):
    mine = key()
    first, again = begin(server, mine), begin(server, mine)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["Location"] == again.headers["Location"]
    assert begin(server, {}).json()["id"] != first.json()["id"]
    assert begin(server, key()).json()["id"] != first.json()["id"]


def test_same_key_with_another_request_is_refused(server):
    mine = key()
    assert begin(server, mine).status_code == 201
    other = begin(server, mine, size=21)
    assert other.status_code == 409
    assert other.json()["type"] == "urn:modelyard:idempotency-conflict"
    assert "another key" in other.json()["detail"]


def test_a_key_is_of_one_address_and_has_a_form(server, made):
    mine = key()
    assert begin(server, mine).status_code == 201
    link = f"/v2/models/counter/weights/{made[0]['weights']}/link"
    assert server.post(link, json={}, headers=mine).status_code == 201
    for wrong in ("", "k" * 256, "a\tb"):
        refused = begin(server, {"Idempotency-Key": wrong})
        assert refused.status_code == 422 and "Idempotency-Key" in refused.json()


def test_files_are_told_apart_by_their_content(server):
    mine, sent = key(), {"name": f"d{uuid.uuid4().hex}"}

    def send(content):
        headers = {**mine, "Content-Type": "application/zip"}
        return server.post("/v2/datasets/", params=sent, data=zipped(content), headers=headers)

    first, again, other = send(b"one"), send(b"one"), send(b"two")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert first.content == again.content
    listed = server.get("/v2/datasets/", params={**sent, "limit": 10}).json()["datasets"]
    assert [one["id"] for one in listed] == [first.json()["id"]]


def test_second_request_waits_for_the_first(server):
    mine = key()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: begin(server, mine), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_what_failed_leaves_the_key_free(server):
    mine, run = key(), server.wait_run(server.train("stepper", steps=5))
    address = f"/v2/models/stepper/train/{run['uuid']}/checkpoints"
    assert server.post(f"{address}/worst/promote", headers=mine).status_code == 422
    missing = f"/v2/models/counter/weights/{'0' * 32}/exports/"
    for _ in range(2):
        answer = server.post(missing, json={"format": "safetensors"}, headers=mine)
        assert answer.status_code == 404
    assert begin(server, mine).status_code == 201


def test_rolled_back_once(server, made):
    aliases, mine = "/v2/models/counter/weights/aliases/production", key()
    before = server.get("/v2/models/counter/weights/aliases/").json()
    first = server.post(f"{aliases}/rollback", headers=mine)
    again = server.post(f"{aliases}/rollback", headers=mine)
    assert first.status_code == again.status_code == 200
    assert first.json()["version"] == again.json()["version"] == made[0]["weights"]
    assert server.get("/v2/models/counter/weights/aliases/").json() != before
    assert server.post(f"{aliases}/rollback").status_code == 409, "another one goes further back"


def test_a_training_is_the_same_whatever_the_names_in_its_request_mean_by_now(server):
    """Names of versions and datasets move, by that training itself, too."""
    address = "/v2/models/stepper/train/"
    zipped_headers = {"Content-Type": "application/zip"}

    def send(content):
        answer = server.post(
            "/v2/datasets/?name=moving", data=zipped(content), headers=zipped_headers
        )
        assert answer.status_code == 201, answer.text

    send(b"one")
    server.wait_run(server.train("stepper", steps=2))
    ways = [
        {"params": {"like": "latest"}},
        {"headers": {"X-Modelyard-Like": "latest"}, "json": {"seconds": 0.0}},
        {"params": {"dataset": "moving", "steps": "1"}},
        {"headers": {"X-Modelyard-Dataset": "moving"}, "json": {"steps": 1}},
    ]
    for number, way in enumerate(ways):
        sent = {**way, "headers": {**way.get("headers", {}), **key()}}
        first = server.post(address, **sent)
        assert first.status_code == 200, first.text
        server.wait_run(first.json())
        server.wait_run(server.train("stepper", steps=3 + number))
        send(b"more %d" % number)
        again = server.post(address, **sent)
        assert again.status_code == 200, again.text
        assert again.json()["uuid"] == first.json()["uuid"]
        other = {**sent, "json": {"seconds": 0.002}}
        assert server.post(address, **other).status_code == 409


def test_a_training_is_the_same_when_what_its_request_names_was_deleted(server):
    versions = [server.wait_run(server.train("stepper", steps=n))["weights"] for n in (2, 3)]
    files = server.post(
        "/v2/datasets/?name=gone", data=zipped(b"gone"), headers={"Content-Type": "application/zip"}
    ).json()["id"]
    address, mine = "/v2/models/stepper/train/", [key(), key()]
    named = [{"dataset": files, "steps": "1"}, {"like": versions[0]}]

    def send():
        pairs = zip(named, mine, strict=True)
        answers = [server.post(address, params=query, headers=own) for query, own in pairs]
        return [(answer.status_code, answer.json()["uuid"]) for answer in answers]

    first = send()
    assert [status for status, _ in first] == [200, 200]
    made = [server.wait_run({"model": "stepper", "uuid": run})["weights"] for _, run in first]
    gone = [f"/v2/models/stepper/weights/{version}" for version in (versions[0], made[0])]
    for path in (*gone, f"/v2/datasets/{files}"):  # when predictions use them no more
        wait_until(lambda path=path: requests.delete(server.url + path, timeout=30).ok, 30)
    assert send() == first
    assert server.post(address, params=named[1], headers=key()).status_code == 422


def test_arguments_in_headers_are_compared_too(server):
    def send(**headers):
        return server.post("/v2/models/stepper/train/", json={"steps": 1}, headers=headers)

    mine = key()
    first, again = send(**mine, Mood="good"), send(**mine, Mood="good")
    assert (first.status_code, again.status_code) == (200, 200), again.text
    assert first.json()["uuid"] == again.json()["uuid"]
    assert (send(**mine, Mood="bad").status_code, send(**mine).status_code) == (409, 409)


def test_limits_in_headers_are_compared_too(server):
    def send(**headers):
        return server.post("/v2/models/stepper/train/", json={"steps": 1}, headers=headers)

    mine, limits = key(), ("X-Modelyard-Max-Seconds", "X-Modelyard-Restart-On-Failure")
    first = send(**mine, **dict.fromkeys(limits, "3"))
    assert first.json()["max_seconds"] == first.json()["restart_on_failure"] == 3
    alike = send(**mine, **{limits[0]: "3.0", limits[1]: "3"})
    assert (alike.status_code, alike.json()["uuid"]) == (200, first.json()["uuid"])
    for other in ({limits[0]: "3"}, {limits[0]: "4", limits[1]: "3"}, {}):
        assert send(**mine, **other).status_code == 409, other


def resumable(server) -> str:
    """A cancelled run that has a checkpoint; its address."""
    record = server.train("stepper", steps=5000, seconds=0.02)
    links = server.run(record)["links"]
    end = time.monotonic() + 60
    while server.get(links["checkpoints"]).json()["last"] is None:
        assert time.monotonic() < end, server.log(record)
        time.sleep(0.05)
    server.delete(links["self"])
    server.wait_run(record)
    return links["self"]


def runs_of(server) -> int:
    return len(server.get("/v2/models/stepper/train/").json())


def cut_off(home) -> int:
    """Leaves the records as a server does that is killed before it can tell what it has done."""
    with sqlite3.connect(home / "records.db") as connection:
        changed = connection.execute("UPDATE answers SET status=NULL, headers=NULL, body=NULL")
    connection.close()
    return changed.rowcount


def test_a_kill_between_the_deed_and_its_answer_makes_nothing_twice(start_server):
    flags = ("--model-name", "stepper,counter", "--no-warm-start")
    server = start_server(*flags)
    for model in ("stepper", "counter"):
        server.wait_ready(model)
    for steps in (1, 2):
        run = server.wait_run(server.train("counter", steps=steps))
        alias = server.url + "/v2/models/counter/weights/aliases/production"
        assert requests.put(alias, timeout=30, json={"version": run["weights"]}).ok
    ended, mine = resumable(server), key()

    def ask(server):
        zip_headers = {**mine, "Content-Type": "application/zip"}
        params = {"name": "sent"}
        return {
            "upload": begin(server, mine),
            "dataset": server.post(
                "/v2/datasets/", params=params, data=zipped(b"one"), headers=zip_headers
            ),
            "resumed": server.post(f"{ended}/resume", headers=mine),
            "promoted": server.post(f"{ended}/checkpoints/last/promote", headers=mine),
            "rolled back": server.post(
                "/v2/models/counter/weights/aliases/production/rollback", headers=mine
            ),
        }

    def told(answers):
        ids = {name: answer.json() for name, answer in answers.items()}
        assert {name: answer.ok for name, answer in answers.items()} == dict.fromkeys(ids, True)
        names = ("id", "uuid", "version")
        return {
            what: next(data[name] for name in names if name in data) for what, data in ids.items()
        }

    first = ask(server)
    count = runs_of(server)
    server.kill()
    assert cut_off(server.home) == len(first)
    server = start_server(*flags, home=server.home)
    for model in ("stepper", "counter"):
        server.wait_ready(model)
    again = ask(server)
    assert told(again) == told(first)
    assert again["dataset"].status_code == 201
    assert runs_of(server) == count
    folders = list((server.home / "uploads").iterdir())
    assert [folder.name for folder in folders] == [told(first)["upload"]]
    third = ask(server)
    assert {n: a.content for n, a in third.items()} == {n: a.content for n, a in again.items()}


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_repeat_makes_one(start_server, tmp_path, rounds):
    """The front is killed while a keyed request is under way; its client asks again."""
    server = start_server("--model-name", "counter", "--no-warm-start")
    for number in range(rounds):
        mine = key()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(lambda server=server, mine=mine: _quietly(server, mine))
            time.sleep((number * 7 % 20) / 1000)
            server.kill()
            first = asking.result()
        server = start_server("--model-name", "counter", "--no-warm-start", home=server.home)
        again = begin(server, mine)
        assert again.status_code == 201
        assert first in (None, again.json()["id"])
        uploads = [f for f in (server.home / "uploads").iterdir() if f.name[0] != "."]
        assert len(uploads) == number + 1, uploads


def _quietly(server, headers):
    try:
        return begin(server, headers).json()["id"]
    except requests.RequestException:
        return None
