"""The default version changes again and again under load, and no call fails."""

import os
import threading
import time

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
    return [server.wait_run(server.train("counter", steps=n))["weights"] for n in (1, 2, 3)]


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
