"""Training over HTTP: start, watch, queue, cancel, keep, predict with the new weights."""

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
import requests
from yard_waiting import wait_until


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "counter,kinds,bare", "--max-trainings", "2")
    for model in ("counter", "kinds", "bare"):
        server.wait_ready(model)
    return server


def test_a_training_ends_as_a_version_that_predictions_use_without_a_restart(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    assert server.predict("counter").status_code == 409
    done = server.wait_run(server.train("counter", steps=4))
    assert (done["status"], done["reason"]) == ("done", "completed")
    assert done["result"]["output"] == {"count": 4, "token_length": 0}
    version = done["weights"]
    listed = server.get("/v2/models/counter/weights/").json()["weights"]
    assert [item["id"] for item in listed] == [version]
    assert listed[0]["aliases"] == ["latest"]
    assert listed[0]["run"] == done["uuid"]
    assert listed[0]["metrics"]["count"] == 4
    assert server.get(f"/v2/models/counter/weights/{version}").json()["id"] == version
    assert server.get("/v2/models/counter/weights/latest").json()["id"] == version
    assert version in server.get("/v2/models/counter/").json()["choices"]["weights"]
    assert version in server.get("/openapi.json").text

    assert server.predict("counter").json()["predictions"] == {"count": 4}
    first = server.predict("counter", params={"weights": version, "plus": 1})
    assert first.json()["predictions"] == {"count": 5}
    assert first.headers["X-Modelyard-Weights"] == version

    newer = server.wait_run(server.train("counter", steps=6))["weights"]
    answers = [server.predict("counter", params={"weights": w}) for w in (version, newer, "latest")]
    assert [a.json()["predictions"]["count"] for a in answers] == [4, 6, 6]
    by_header = server.predict("counter", headers={"X-Modelyard-Weights": version})
    assert by_header.json()["predictions"]["count"] == 4
    deadline = time.monotonic() + 10
    while server.predict("counter").headers["X-Modelyard-Weights"] != newer:
        assert time.monotonic() < deadline, "the default did not move to the new version"
        time.sleep(0.05)


def test_the_answer_to_a_start_is_deepaas_record_with_where_to_look(server):
    answer = server.post("/v2/models/counter/train/", json={"steps": 2})
    record = answer.json()
    assert re.fullmatch(r"[0-9a-f]{32}", record["uuid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", record["date"])
    assert record["status"] == "running"
    assert record["args"]["steps"] == 2 and record["args"]["end"] == "well"
    assert answer.headers["Location"] == record["links"]["self"]
    assert server.get(record["links"]["self"]).json()["uuid"] == record["uuid"]
    assert server.get(record["links"]["self"] + "/").json()["uuid"] == record["uuid"]
    server.wait_run(record)


@pytest.mark.parametrize("where", ["params", "data", "json"])
def test_arguments_of_a_training_come_by_every_place(server, where):
    answer = server.post("/v2/models/counter/train/", **{where: {"steps": "3"}})
    assert answer.json()["args"]["steps"] == 3
    assert server.wait_run(answer.json())["result"]["output"]["count"] == 3


def test_wrong_arguments_start_nothing(server):
    before = len(server.get("/v2/models/counter/train/").json())
    answer = server.post("/v2/models/counter/train/", json={"steps": 0, "stepz": 1, "like": "x"})
    assert answer.status_code == 422
    assert "?like=" in answer.json()["like"][0] and "X-Modelyard-Like" in answer.json()["like"][0]
    assert set(answer.json()) <= {"steps", "stepz", "like"}
    assert len(server.get("/v2/models/counter/train/").json()) == before


def test_a_model_without_train_says_501(server):
    assert server.post("/v2/models/bare/train/", json={}).status_code == 501


@pytest.mark.parametrize(
    ("end", "reason", "words"),
    [
        ("raise", "plugin_failed", "ValueError: the count went wrong"),
        ("exit", "process_died", "7"),
        ("kill", "process_died", "SIGKILL"),
        ("invalid", "invalid_data", "train.txt:7: a label is out of range"),
    ],
)
def test_a_training_that_fails_ends_as_error_with_the_reason(server, end, reason, words):
    ended = server.wait_run(server.train("counter", steps=5, end=end))
    assert (ended["status"], ended["reason"]) == ("error", reason)
    assert words in ended["message"]
    assert ended["weights"] is None


def test_results_that_are_numpy_or_nan_end_well(server):
    ended = server.wait_run(server.train("kinds"))
    assert ended["result"]["output"] == {"numpy": 1.5, "nan": None}
    assert re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", ended["result"]["duration"])
    assert ended["weights"] is None


def test_a_training_is_watched_by_log_metrics_events_and_checkpoints(server):
    record = server.train("counter", steps=20, seconds=0.05)
    self = record["links"]["self"]
    kinds, last = [], None
    with requests.get(server.url + record["links"]["events"], stream=True, timeout=60) as stream:
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                kinds.append(line[7:])
            if line.startswith("data: ") and kinds[-1] == "record":
                last = json.loads(line[6:])
    assert last["status"] == "done" and last["phase"] == "finished"
    assert {"record", "metrics"} <= set(kinds)
    metrics = server.get(self + "/metrics").json()
    assert [point[0] for point in metrics["series"]["loss"]] == list(range(1, 21))
    assert metrics["series"]["count"][-1][2] == 20
    later = server.get(self + "/metrics?name=loss&since=18").json()
    assert list(later["series"]) == ["loss"]
    assert [point[0] for point in later["series"]["loss"]] == [19, 20]
    assert "counting 20 steps" in server.log(record)
    assert server.get(self + "/log?tail=1").text.count("\n") == 1
    found = server.get(self + "/checkpoints").json()
    assert found["last"] == found["best"] == 20


def test_events_go_on_where_a_client_left_off(server):
    record = server.wait_run(server.train("counter", steps=5))
    url = server.url + record["links"]["events"]
    ids = re.findall(r"^id: (.+)$", requests.get(url, timeout=30).text, re.M)
    again = requests.get(url, timeout=30, headers={"Last-Event-ID": ids[-1]}).text
    assert "event: metrics" not in again
    assert requests.get(url, headers={"Last-Event-ID": "x"}, timeout=30).status_code == 422


def test_a_log_is_followed_until_the_training_ends(server):
    record = server.train("counter", steps=10, seconds=0.05)
    text = requests.get(server.url + record["links"]["log"] + "?follow=1", timeout=60).text
    assert "counting 10 steps" in text
    assert server.run(record)["phase"] == "finished"


def test_progress_is_told_while_it_trains(server):
    record = server.train("counter", steps=40, seconds=0.05)
    seen = set()
    while (now := server.run(record))["phase"] != "finished":
        seen.add(now["progress"]["done"] if now["progress"] else None)
        time.sleep(0.1)
    assert len(seen) > 4


def test_predictions_answer_while_a_training_runs(server):
    record = server.train("counter", steps=100_000, seconds=0.05)
    server.wait_run(record, "training")
    started = time.monotonic()
    for _ in range(20):
        assert server.predict("bare").status_code == 200
    assert time.monotonic() - started < 30
    assert server.run(record)["status"] == "running"
    server.delete(record["links"]["self"])


@pytest.mark.parametrize("end", ["well", "deaf"])
def test_cancel_ends_the_training_at_once_and_keeps_its_record(server, end):
    record = server.train("counter", steps=100_000, seconds=0.01, end=end)
    server.wait_run(record, "training")
    started = time.monotonic()
    answer = server.delete(record["links"]["self"])
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    ended = server.wait_run(record, timeout=30)
    assert time.monotonic() - started < 20
    assert (ended["status"], ended["reason"]) == ("cancelled", "cancelled")
    listed = server.get("/v2/models/counter/train/").json()
    assert record["uuid"] in [item["uuid"] for item in listed]
    assert server.delete(record["links"]["self"]).json() == ended


def test_cancel_takes_the_whole_family_of_processes(server):
    record = server.train("counter", steps=100_000, seconds=0.01, end="family")
    server.wait_run(record, "training")
    assert marked(record)
    server.delete(record["links"]["self"])
    server.wait_run(record, timeout=30)
    wait_until(lambda: not marked(record))


def test_a_family_left_behind_by_a_training_that_ended_is_gone_too(server):
    record = server.train("counter", steps=2, end="family")
    assert server.wait_run(record)["status"] == "done"
    wait_until(lambda: not marked(record))


def marked(record):
    """Processes that show the run's id in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if record["uuid"].encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def test_more_trainings_than_places_wait_in_order_with_their_position(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    first, second, third = (server.train("counter", steps=100_000, seconds=0.05) for _ in range(3))
    server.wait_run(first, "training")
    told = [server.run(record) for record in (first, second, third)]
    assert [item["phase"] for item in told[1:]] == ["queued", "queued"]
    assert [item["position"] for item in told] == [None, 1, 2]
    server.delete(second["links"]["self"])
    assert server.run(second)["status"] == "cancelled"
    assert server.run(third)["position"] == 1
    server.delete(first["links"]["self"])
    server.wait_run(third, "training")
    assert server.run(second)["started_at"] is None


def test_a_secret_argument_reaches_the_model_and_is_kept_nowhere(server):
    record = server.train("counter", steps=2, token="hunter2secret")
    assert "token" not in record["args"]
    ended = server.wait_run(record)
    assert ended["result"]["output"]["token_length"] == len("hunter2secret")
    for path in server.home.rglob("*"):
        if path.is_file():
            assert b"hunter2secret" not in path.read_bytes(), path


def test_the_same_idempotency_key_starts_one_training(server):
    path = "/v2/models/counter/train/"
    key = {"Idempotency-Key": os.urandom(8).hex()}
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(server.post(path, json={"steps": 2}, headers=key).json())
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["uuid"] for answer in answers}) == 1
    other = server.post(path, json={"steps": 3}, headers=key)
    assert other.status_code == 409


def test_the_list_is_a_bare_array_and_pages_newest_first_with_a_limit(server):
    everything = server.get("/v2/models/counter/train/").json()
    assert isinstance(everything, list) and len(everything) > 3
    page = server.get("/v2/models/counter/train/?limit=2")
    assert [item["uuid"] for item in page.json()] == [r["uuid"] for r in everything[-2:][::-1]]
    following = page.links["next"]["url"]
    assert [item["uuid"] for item in server.get(following).json()] == [
        r["uuid"] for r in everything[-4:-2][::-1]
    ]
    done = server.get("/v2/models/counter/train/?status=cancelled").json()
    assert {item["status"] for item in done} <= {"cancelled"}
    assert list(server.get("/v2/models/counter/train/?limit=0").json()) == ["limit"]


def test_tensorboard_shows_the_run_on_the_same_port_and_ends_with_the_server(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.wait_run(server.train("counter", steps=5))
    assert "TensorBoard" in server.get("/tensorboard/").text
    deadline = time.monotonic() + 30
    while True:
        runs = server.get("/tensorboard/data/runs").json()
        if any(record["uuid"] in name for name in runs):
            break
        assert time.monotonic() < deadline, runs
        time.sleep(0.3)
    name = next(name for name in runs if record["uuid"] in name)
    points = server.get(
        "/tensorboard/data/plugin/scalars/scalars", params={"run": name, "tag": "loss"}
    )
    assert [point[1] for point in points.json()] == [1, 2, 3, 4, 5]
    children = descendants(server.process.pid)
    assert children
    assert server.stop() == 0
    deadline = time.monotonic() + 3
    while left := [pid for pid in children if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def descendants(root):
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
                )
            except OSError:
                continue
    found, front = [], [root]
    while front:
        front = [pid for pid, parent in parents.items() if parent in front]
        found += front
    return found
