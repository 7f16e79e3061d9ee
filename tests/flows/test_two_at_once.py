"""Two who ask for the same, or for opposite things, in the same moment: one order of them holds."""

import io
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from yard_waiting import wait_until


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "stepper,counter", "--no-warm-start")
    for model in ("stepper", "counter"):
        server.wait_ready(model)
    return server


def at_once(*calls):
    """The answers of calls that begin in the same moment."""
    start = threading.Barrier(len(calls))

    def call(one):
        start.wait(30)
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def codes(answers) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def cancelled(server) -> str:
    """The address of a cancelled run that has a checkpoint."""
    record = server.train("stepper", steps=50_000, seconds=0.002)
    links = record["links"]
    wait_until(lambda: server.get(links["checkpoints"]).json()["last"] is not None)
    server.delete(links["self"])
    server.wait_run(record)
    return links["self"]


def test_a_checkpoint_that_several_promote_becomes_one_version(server):
    address = f"{cancelled(server)}/checkpoints/last/promote"
    answers = at_once(*[lambda: server.post(address)] * 6)
    assert codes(answers) == [200] * 5 + [201], [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    archive = server.get(f"{answers[0].json()['links']['self']}/archive")
    assert archive.status_code == 200


def test_a_run_is_promoted_or_purged_first(server):
    for number in range(5):
        address = cancelled(server)

        def purge(address=address, later_s=0.004 * number):
            time.sleep(later_s)
            return server.delete(f"{address}?purge=true")

        promoted, purged = at_once(
            lambda address=address: server.post(f"{address}/checkpoints/last/promote"), purge
        )
        assert purged.status_code == 200, purged.text
        assert promoted.status_code in (201, 404), promoted.text


def uploaded(server, content: bytes) -> str:
    """The address of an upload all of whose parts are there."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", content)
    body = {"filename": "a.zip", "size": len(packed.getvalue())}
    address = f"/v2/datasets/uploads/{server.post('/v2/datasets/uploads/', json=body).json()['id']}"
    part = requests.put(f"{server.url}{address}/parts/1", data=packed.getvalue(), timeout=30)
    assert part.status_code == 204, part.text
    return address


def test_an_upload_that_is_completed_again_and_again_is_one_dataset(server):
    address = uploaded(server, b"completed")

    def later(seconds, ask):
        time.sleep(seconds)
        return ask()

    calls = [
        lambda wait=0.02 * number, ask=ask: later(wait, ask)
        for number in range(8)
        for ask in (
            lambda: server.post(f"{address}/complete"),
            lambda: server.get(address),
        )
    ]
    answers = at_once(*calls)
    assert {answer.status_code for answer in answers} <= {200, 201}, codes(answers)
    completed = server.post(f"{address}/complete").json()
    assert {a.json()["id"] for a in answers if a.status_code == 201} == {completed["id"]}


def test_an_upload_is_completed_or_given_up(server):
    for number in range(12):
        address = uploaded(server, b"given up %d" % number)

        def give_up(address=address, later_s=0.001 * (number % 6)):
            time.sleep(later_s)
            return server.delete(address)

        completed, gone, looked = at_once(
            lambda address=address: server.post(f"{address}/complete"),
            give_up,
            lambda address=address: server.get(address),
        )
        ends = (completed.status_code, gone.status_code)
        assert ends in ((201, 409), (201, 204), (404, 204)), (completed.text, gone.text)
        assert looked.status_code in (200, 404), looked.text
        if ends == (404, 204):
            assert server.get(address).status_code == 404


def test_a_version_is_named_or_deleted_first(server):
    """An alias whose move was acknowledged names a version that is there."""
    weights = "/v2/models/counter/weights"
    for number in range(8):
        versions = [server.wait_run(server.train("counter", steps=n))["weights"] for n in (1, 2)]
        old = f"{weights}/{versions[0]}"

        def move(version=versions[0], later_s=0.004 * number):
            time.sleep(later_s)
            address = f"{server.url}{weights}/aliases/mine"
            return requests.put(address, json={"version": version}, timeout=30)

        moved, deleted = at_once(move, lambda old=old: server.delete(old))
        assert (moved.status_code, deleted.status_code) in ((200, 409), (404, 204)), (
            moved.text,
            deleted.text,
        )
        named = server.get(f"{weights}/mine")
        assert named.status_code == moved.status_code
        server.delete(f"{weights}/aliases/mine")
