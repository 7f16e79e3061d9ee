"""What a training left can be chosen when it ends, without a restart and without a gap."""

import threading
import time

import pytest

MODEL = "old-lister"


@pytest.fixture
def server(start_server, old_base):
    server = start_server("--model-name", MODEL, env={"OLD_MODULES_BASE": str(old_base)})
    server.base = old_base
    assert server.wait_ready(MODEL)["state"] == "ready"
    return server


def until(told, limit=30):
    end = time.monotonic() + limit
    while not told():
        assert time.monotonic() < end
        time.sleep(0.1)


def choices(server):
    return server.get(f"/v2/models/{MODEL}/").json()["arguments"]["predict_arguments"][0]["choices"]


def test_what_a_module_lists_while_it_is_imported_is_listed_anew(server):
    assert server.predict(MODEL, json={"model": "third"}).status_code == 422
    assert server.wait_run(server.train(MODEL, name="third"))["status"] == "done"
    until(lambda: "third" in choices(server))
    answer = server.predict(MODEL, json={"model": "third"})
    assert answer.json()["predictions"]["model"] == "third"


def test_predictions_go_on_while_the_worker_is_replaced(server):
    answers, stop = [], threading.Event()

    def predict():
        while not stop.is_set():
            answers.append(server.predict(MODEL, json={"seconds": 0.01}))

    def pids():
        return {answer.json()["predictions"]["pid"] for answer in [*answers] if answer.ok}

    thread = threading.Thread(target=predict)
    thread.start()
    server.wait_run(server.train(MODEL, name="fourth"))
    until(lambda: "fourth" in choices(server))
    until(lambda: len(pids()) == 2)
    time.sleep(0.3)
    stop.set()
    thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len(pids()) == 2


def test_a_module_that_cannot_be_imported_again_goes_on_as_it_was(server):
    assert server.wait_run(server.train(MODEL, name="broken"))["status"] == "done"
    until(lambda: server.get(f"/v2/models/{MODEL}/").json().get("weights_error"))
    told = server.get(f"/v2/models/{MODEL}/").json()
    assert "something broken" in told["weights_error"]
    assert told["state"] == "ready"
    assert server.predict(MODEL, json={}).status_code == 200
