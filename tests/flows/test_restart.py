"""The front may be killed: trainings go on, the next server adopts them and tells the truth."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from modelyard.training.identity import read_stat


def test_a_running_training_survives_kill_9_of_the_server_and_is_adopted(start_server, tmp_path):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.train("counter", steps=40, seconds=0.05, hold=str(tmp_path / "go on"))
    waiting = server.train("counter", steps=2)
    server.wait_run(record, "training")
    workers = [worker["pid"] for worker in server.get("/v2/models/counter/").json()["workers"]]
    server.kill()
    assert gone(workers, within_s=3)
    time.sleep(0.5)
    again = start_server("--model-name", "counter", home=server.home)
    adopted = again.run(record)
    assert (adopted["status"], adopted["phase"]) == ("running", "training")
    (tmp_path / "go on").touch()
    ended = again.wait_run(record)
    assert ended["status"] == "done"
    assert ended["result"]["output"]["count"] == 40
    points = again.get(record["links"]["metrics"]).json()["series"]["count"]
    assert [point[0] for point in points] == list(range(1, 41))
    assert again.wait_run(waiting)["status"] == "done"


@pytest.mark.slow
def test_a_training_that_ended_while_no_server_ran_is_told_as_it_ended(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.train("counter", steps=20, seconds=0.05)
    server.wait_run(record, "training")
    server.kill()
    exit_record = server.home / "runs" / record["uuid"] / "exit.json"
    deadline = time.monotonic() + 20
    while not exit_record.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = start_server("--model-name", "counter", home=server.home)
    ended = again.wait_run(record, timeout=10)
    assert ended["status"] == "done"
    again.wait_ready("counter")
    answer = again.predict("counter")
    assert answer.headers["X-Modelyard-Weights"] == ended["weights"]


def test_a_training_whose_processes_were_all_killed_is_told_within_ten_seconds(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.train("counter", steps=100_000, seconds=0.01)
    server.wait_run(record, "training")
    folder = server.home / "runs" / record["uuid"]
    files = [folder / name for name in ("supervisor.json", "process.json")]
    for pid in [json.loads(file.read_text())["pid"] for file in files]:
        with suppress(ProcessLookupError):  # the kernel ends the second with the first
            os.kill(pid, signal.SIGKILL)
    ended = server.wait_run(record, timeout=10)
    assert ended["status"] == "error"
    assert ended["reason"] in ("process_died", "interrupted")


def test_stopping_the_server_leaves_a_training_unless_it_was_told_to_cancel(start_server, tmp_path):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.train("counter", hold=str(tmp_path / "go on"))
    server.wait_run(record, "training")
    assert server.stop() == 0
    again = start_server("--model-name", "counter", "--on-stop", "cancel", home=server.home)
    assert again.run(record)["status"] == "running"
    (tmp_path / "go on").touch()
    again.wait_ready("counter")
    other = again.train("counter", steps=100_000, seconds=0.01)
    again.wait_run(other, "training")
    assert again.stop() == 0
    last = start_server("--model-name", "counter", home=server.home)
    ended = last.wait_run(other, timeout=10)
    assert (ended["status"], ended["reason"]) == ("cancelled", "stopped")
    assert Path(server.home / "runs" / other["uuid"]).exists()


def test_a_client_that_follows_a_run_does_not_hold_up_the_stop(start_server):
    server = start_server("--model-name", "counter", "--on-stop", "cancel")
    server.wait_ready("counter")
    record = server.train("counter", steps=100_000, seconds=0.01)
    server.wait_run(record, "training")
    links = record["links"]
    with (
        requests.get(server.url + links["events"], stream=True, timeout=60) as events,
        requests.get(server.url + links["log"] + "?follow=1", stream=True, timeout=60) as log,
    ):
        next(events.iter_lines())
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 7
        assert log.status_code == 200


def gone(pids, within_s):
    deadline = time.monotonic() + within_s
    while any(read_stat(pid) is not None for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_training_that_waits_to_be_restarted_is_so_after_kill_9_of_the_server(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    headers = {"X-Modelyard-Restart-On-Failure": "20"}  # each wait is longer than the one before
    path = "/v2/models/counter/train/"
    record = server.post(path, json={"end": "raise"}, headers=headers).json()
    wait_until(lambda: server.run(record)["phase"] == "retry_wait")
    before = server.run(record)
    server.kill()
    server.start()
    after = server.run(record)
    assert after["status"] == "running"
    wait_until(lambda: server.run(record)["attempt"] > before["attempt"])
    wait_until(lambda: len(server.run(record)["attempts"]) > len(before["attempts"]))
    told = server.run(record)["attempts"]
    assert [one["number"] for one in told] == list(range(1, len(told) + 1))
    assert all(one["reason"] == "plugin_failed" for one in told[:-1])
    assert server.delete(record["links"]["self"]).json()["status"] == "cancelled"
    server.kill()
    server.start()
    assert server.wait_run(record)["status"] == "cancelled", "and not begun again"


def wait_until(condition, within_s=60):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
