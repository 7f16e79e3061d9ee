"""Versions that came by import: what predicts with them, and if they cannot be loaded."""

import time

import pytest
import requests

MODEL = ("--model-name", "counter")
WEIGHTS = "/v2/models/counter/weights/"


@pytest.fixture(scope="module")
def archives(serve_module):
    """Archives of a good version, of one that cannot be loaded, and of another good one."""
    server = serve_module(*MODEL)
    server.wait_ready("counter")
    found = []
    for arguments in ({"steps": 4}, {"steps": 1, "end": "unloadable"}, {"steps": 5}):
        made = server.wait_run(server.train("counter", **arguments))["weights"]
        found.append((made, server.get(f"{WEIGHTS}{made}/archive").content))
    return found


def take_in(server, archive):
    headers = {"Content-Type": "application/gzip"}
    answer = server.post(WEIGHTS, data=archive[1], headers=headers)
    assert answer.status_code == 201, answer.text
    return archive[0]


def until(what, within_s=20):
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def model(server):
    return server.get("/v2/models/counter/").json()


def served(server):
    return server.predict("counter").headers.get("X-Modelyard-Weights")


def put(server, alias, version):
    url = f"{server.url}{WEIGHTS}aliases/{alias}"
    assert requests.put(url, json={"version": version}, timeout=30).status_code == 200


def test_an_import_that_cannot_be_loaded_stops_no_server_and_is_mended_over_http(
    start_server, archives
):
    good, bad, _ = archives
    first = start_server(*MODEL)
    first.wait_ready("counter")
    broken = take_in(first, bad)
    until(lambda: broken in (model(first).get("weights_error") or ""))
    answer = first.predict("counter")
    assert answer.status_code == 409 and broken in answer.json()["message"]
    assert first.stop() == 0
    server = start_server(*MODEL, home=first.home)
    assert server.wait_ready("counter")["state"] == "ready"
    working = take_in(server, good)
    assert until(lambda: served(server)) == working
    assert server.get(f"{WEIGHTS}aliases/").json()["aliases"] == [], "an import moves no alias"
    assert server.delete(WEIGHTS + broken).status_code == 204
    assert server.delete(WEIGHTS + working).status_code == 409, "predictions use it"


def test_an_import_predicts_until_there_is_a_training_and_again_after_a_restart(
    start_server, archives
):
    good, _, other = archives
    server = start_server(*MODEL)
    server.wait_ready("counter")
    working = take_in(server, good)
    assert served(server) == working, "a prediction waits until it is loaded"
    take_in(server, other)
    assert served(server) == working, "a second import changes nothing"
    assert server.stop() == 0
    again = start_server(*MODEL, home=server.home)
    assert again.wait_ready("counter")["weights"] == working
    trained = again.wait_run(again.train("counter", steps=1))["weights"]
    assert until(lambda: served(again) == trained)


@pytest.mark.slow
def test_a_production_that_cannot_be_loaded_gives_way_at_a_start_to_what_could(
    start_server, archives
):
    server = start_server(*MODEL)
    server.wait_ready("counter")
    trained = server.wait_run(server.train("counter", steps=2))["weights"]
    broken = take_in(server, archives[1])
    put(server, "production", broken)
    until(lambda: broken in (model(server).get("weights_error") or ""))
    assert server.stop() == 0
    again = start_server(*MODEL, home=server.home)
    told = again.wait_ready("counter")
    assert (told["state"], told["weights"]) == ("ready", trained)
    assert broken in told["weights_error"] and served(again) == trained


@pytest.mark.slow
def test_a_production_that_cannot_be_loaded_ends_a_server_that_has_nothing_else(
    start_server, archives
):
    server = start_server(*MODEL)
    server.wait_ready("counter")
    put(server, "production", take_in(server, archives[1]))
    assert server.stop() == 0
    again = start_server(*MODEL, home=server.home, wait=False)
    assert again.process.wait(30) == 3
