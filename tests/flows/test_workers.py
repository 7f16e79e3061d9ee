"""Workers over HTTP: batches, deaths, and new weights under load."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "batcher,bare")
    for model in ("batcher", "bare"):
        server.wait_ready(model)
    return server


def together(server, calls):
    """Sends calls that wait behind a busy worker, so that they are batched; answers in order."""
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        busy = threads.submit(server.predict, "batcher", json={"seconds": 0.5})
        time.sleep(0.15)
        answers = list(threads.map(lambda call: server.predict("batcher", json=call), calls))
        assert busy.result().status_code == 200
    return answers


def test_calls_that_wait_go_together_and_each_gets_its_own_answer(server):
    answers = together(server, [{"n": n} for n in range(20)])
    assert [answer.json()["predictions"]["n"] for answer in answers] == list(range(20))
    sizes = [answer.json()["predictions"]["together"] for answer in answers]
    assert 1 < max(sizes) <= 8


def test_an_idle_worker_answers_at_once(server):
    assert server.predict("batcher").json()["predictions"]["together"] == 1


@pytest.mark.parametrize("do", ["fail", "die"])
def test_a_bad_call_in_a_batch_fails_alone(server, do):
    answers = together(server, [{"n": n, "do": do if n == 3 else "answer"} for n in range(7)])
    assert [answer.status_code for answer in answers] == [200] * 3 + [500] + [200] * 3
    assert [a.json()["predictions"]["n"] for a in answers if a.ok] == [0, 1, 2, 4, 5, 6]


def test_a_wrong_argument_in_a_batch_is_told_to_its_own_client(server):
    answers = together(server, [{"n": "x" if n == 2 else n} for n in range(5)])
    assert [answer.status_code for answer in answers] == [200, 200, 422, 200, 200]


def test_a_killed_worker_is_replaced_and_told(server):
    (worker,) = server.get("/v2/models/bare/").json()["workers"]
    os.kill(worker["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while True:
        now = server.get("/v2/models/bare/").json()
        if now["state"] == "ready" and now["workers"][0]["pid"] not in (None, worker["pid"]):
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert server.predict("bare").status_code == 200
    assert now["workers"][0]["restarts"] == 1
    assert "SIGKILL" in now["workers"][0]["last_exit"]


def test_several_workers_predict_at_the_same_time(start_server):
    server = start_server("--model-name", "hostile", "--workers", "2")
    server.wait_ready("hostile")
    deadline = time.monotonic() + 20
    while any(w["state"] != "idle" for w in server.get("/v2/models/hostile/").json()["workers"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with ThreadPoolExecutor(4) as threads:
        slow = {"json": {"do": "sleep", "seconds": 0.7}}
        answers = list(threads.map(lambda _: server.predict("hostile", **slow), range(4)))
    assert len({answer.json()["predictions"]["pid"] for answer in answers}) == 2


def test_new_weights_take_over_under_load_without_a_failed_call(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    first = server.wait_run(server.train("counter", steps=1))["weights"]
    stop = threading.Event()
    seen, failed = [], []

    def load():
        while not stop.is_set():
            answer = server.predict("counter")
            (seen if answer.ok else failed).append(answer)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        last = first
        for steps in (2, 3, 4):
            last = server.wait_run(server.train("counter", steps=steps))["weights"]
            deadline = time.monotonic() + 15
            while seen[-1].headers["X-Modelyard-Weights"] != last:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    for answer in seen:  # every answer is of the version that it names
        runs = {"1": first}
        assert answer.json()["predictions"]["count"] in (1, 2, 3, 4), runs
    assert seen[-1].json()["predictions"]["count"] == 4


def test_weights_that_cannot_be_loaded_leave_the_old_ones_serving(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    good = server.wait_run(server.train("counter", steps=2))["weights"]
    bad = server.wait_run(server.train("counter", steps=3, end="unloadable"))["weights"]
    deadline = time.monotonic() + 20
    while bad not in (server.get("/v2/models/counter/").json().get("weights_error") or ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = server.predict("counter")
    assert answer.json()["predictions"]["count"] == 2
    assert answer.headers["X-Modelyard-Weights"] == good
    chosen = server.predict("counter", params={"weights": bad})
    assert chosen.status_code in (500, 503)
    assert "JSONDecodeError" in chosen.json()["message"]
    told = server.get("/v2/models/counter/").json()
    assert told["state"] == "ready" and told["weights"] == good
    assert bad in told["weights_error"]


def test_models_beyond_the_memory_budget_are_unloaded_count_as_ready_and_come_back(start_server):
    server = start_server("--model-name", "bare,batcher", "--memory-budget", "1M")

    def states():
        return {one["id"]: one["state"] for one in server.get("/v2/models/").json()["models"]}

    server.wait_ready("bare")
    server.wait_ready("batcher")
    for asked, other in (("bare", "batcher"), ("batcher", "bare")):
        assert server.predict(asked).status_code == 200
        deadline = time.monotonic() + 20
        while states() != {asked: "ready", other: "unloaded"}:
            assert time.monotonic() < deadline, states()
            time.sleep(0.05)
    assert server.get("/readyz?model=all").status_code == 200
