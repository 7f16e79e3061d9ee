"""Two who ask for the same, or for opposite things, in the same moment: one order of them holds."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
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
