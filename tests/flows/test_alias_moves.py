"""`production` moves over HTTP, and divides the calls: under load, with a shadow, and back."""

import os
import threading
import time
from collections import Counter

import pytest
import requests

ALIAS = "/v2/models/counter/weights/aliases/production"
MANY = int(os.environ.get("MODELYARD_SWAPS", "1000"))


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter", "--no-warm-start")
    server.wait_ready("counter")
    return server


@pytest.fixture(scope="module")
def versions(server):
    """More than are kept warm: each swap starts and warms a worker."""
    made = []
    for steps in (1, 2, 3):
        run = server.wait_run(server.train("counter", steps=steps))
        made.append(run["weights"])
    return made


def divided(server, body, *versions):
    """Moves the alias; returns when the versions have their shares."""
    answer = requests.put(server.url + ALIAS, timeout=30, json=body)
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + 20
    while True:
        traffic = server.get("/v2/models/counter/").json()["traffic"]
        if traffic is not None:
            shadow = [traffic["shadow"]] if traffic["shadow"] else []
            parts = [*traffic["versions"], *shadow]
            named = [part["version"] for part in parts]
            if named == list(versions) and all(part["ready"] for part in parts):
                return answer.json()
        assert time.monotonic() < deadline, traffic
        time.sleep(0.05)


def seen(server, count, **more):
    answers = [server.predict("counter", **more) for _ in range(count)]
    assert all(answer.ok for answer in answers)
    return Counter(answer.headers["X-Modelyard-Weights"] for answer in answers)


def test_calls_are_divided_and_sticky_and_rolled_back(server, versions):
    old, new, _ = versions
    assert requests.put(server.url + ALIAS, timeout=30, json={"version": old}).ok
    shares = [{"version": old, "weight": 90}, {"version": new, "weight": 10}]
    told = divided(server, {"versions": shares}, old, new)
    assert (told["version"], told["versions"], told["problem"]) == (old, shares, None)
    counted = seen(server, 30)
    assert 1 <= counted[new] <= 5 and counted[old] == 30 - counted[new]
    assert seen(server, 30, params={"weights": "production"})[new] >= 1
    assert len(seen(server, 5, headers={"X-Modelyard-Sticky": "somebody"})) == 1
    assert seen(server, 2, params={"weights": new}) == {new: 2}

    refused = server.delete(f"/v2/models/counter/weights/{new}")
    assert refused.status_code == 409 and "production" in refused.json()["message"]
    back = server.post(ALIAS + "/rollback")
    assert back.json()["versions"] == [{"version": old, "weight": 1.0}]
    deadline = time.monotonic() + 10
    while server.get("/v2/models/counter/").json()["traffic"] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert seen(server, 20) == {old: 20}


def test_a_shadow_gets_copies_that_nobody_waits_for(server, versions):
    old, _, other = versions
    body = {"version": old, "shadow": other}
    assert divided(server, body, old, other)["shadow"] == other
    assert seen(server, 4) == {old: 4}
    deadline = time.monotonic() + 10
    while True:
        shadow = server.get("/v2/models/counter/").json()["traffic"]["shadow"]
        if shadow["different"] + shadow["dropped"] == 4:
            break
        assert time.monotonic() < deadline, shadow
        time.sleep(0.05)
    assert shadow["different"] >= 1 and shadow["failed"] == 0
    assert list((server.home / "tmp" / "calls").glob("*")) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "version"),
        ({"version": "V", "versions": [{"version": "V"}]}, "version"),
        ({"versions": []}, "versions"),
        ({"versions": [{"version": "V"}, {"version": "V"}]}, "versions"),
        ({"versions": [{"version": "V", "weight": 0}]}, "versions"),
        ({"version": "V", "shadow": "V"}, "shadow"),
        ({"version": "V", "shadow_share": 2}, "shadow_share"),
    ],
)
def test_what_divides_nothing_is_refused_by_name(server, versions, body, field):
    text = str(body).replace("'V'", f'"{versions[0]}"').replace("'", '"')
    answer = requests.put(
        server.url + ALIAS, timeout=30, data=text, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422 and field in answer.json(), answer.text


class Load:
    """Clients that call all the time, each with a connection of its own."""

    def __init__(self, server, clients=4):
        self.answered = 0
        self.failed = []
        self._url = server.url + "/v2/models/counter/predict/"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(clients)]

    def _call(self):
        with requests.Session() as session:
            while not self._stop.is_set():
                answer = session.post(self._url, json={}, timeout=30)
                self.answered += 1
                if not answer.ok or "X-Modelyard-Weights" not in answer.headers:
                    self.failed.append((answer.status_code, answer.text))
                time.sleep(0.005)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def swap(server, version):
    moved = requests.put(server.url + ALIAS, json={"version": version}, timeout=30)
    assert moved.ok, moved.text
    deadline = time.monotonic() + 60
    while server.get("/v2/models/counter/").json()["weights"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def swaps_under_load(server, versions, count):
    with Load(server) as load:
        for number in range(count):
            swap(server, versions[number % len(versions)])
    print(f"{count} swaps, {load.answered} calls")
    assert load.failed == []
    assert load.answered > count
    workers = server.get("/v2/models/counter/").json()["workers"]
    assert len(workers) <= 2, "the old ones have ended, but for the one that is kept warm"


def test_ten_swaps_under_load_fail_no_call(server, versions):
    swaps_under_load(server, versions, 10)


@pytest.mark.slow
def test_a_thousand_swaps_under_load_fail_no_call(server, versions):
    """MODELYARD_SWAPS is how many."""
    swaps_under_load(server, versions, MANY)
