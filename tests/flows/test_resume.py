"""Pause and resume over HTTP, with the built-in classifier: the same weights, bit for bit."""

import random
import signal
import time
from pathlib import Path

import pytest

from modelyard.models_plugin.image_classifier.demo_data import write_digits
from modelyard.training.executor import read_identity
from modelyard.training.paths import RunPaths

MODEL = "image-classifier"
ARGUMENTS = {
    "dataset": "pictures", "epochs": 6, "batch_size": 16, "flip": 0.5, "threads": 1, "seed": 3,
}  # fmt: skip


@pytest.fixture
def server(start_server, tmp_path):
    data = tmp_path / "data"
    write_digits(data / "pictures")
    for number, picture in enumerate(sorted((data / "pictures").glob("*/*/*.png"))):
        if number % 6:
            picture.unlink()
    flags = ("--data", str(data), "--training-threads", "1", "--training-nice", "0")
    made = start_server("--model-name", MODEL, *flags)
    made.wait_ready(MODEL)
    return made


def hashes(server, record: dict) -> dict[str, str]:
    version = server.get(f"/v2/models/{MODEL}/weights/{record['weights']}").json()
    return {file["path"]: file["sha256"] for file in version["files"]}


def until(server, record: dict, condition, within_s: float = 60) -> dict:
    end = time.monotonic() + within_s
    while not condition(now := server.run(record)):
        assert time.monotonic() < end, (now, server.log(record))
        time.sleep(0.02)
    return now


def step_of(now: dict) -> int:
    return now["progress"]["step"] or 0


def kill(server, record: dict, who: str) -> None:
    paths = RunPaths(Path(server.home) / "runs" / record["uuid"])
    identity = read_identity(getattr(paths, who))
    if identity is not None:
        identity.signal(signal.SIGKILL)


def test_classifier_that_was_paused_and_killed_ends_with_the_same_bytes(server):
    unbroken = server.wait_run(server.train(MODEL, **ARGUMENTS), timeout=120)
    assert unbroken["status"] == "done", unbroken
    steps = step_of(unbroken)
    record = server.train(MODEL, **ARGUMENTS)
    until(server, record, lambda now: now["phase"] == "training" and step_of(now) > steps // 5)
    asked = server.post(server.run(record)["links"]["pause"])
    assert asked.status_code == 200, asked.text
    paused = until(server, record, lambda now: now["phase"] == "paused" or now["status"] == "done")
    assert paused["phase"] == "paused", paused
    assert (paused["status"], "pause" in paused["links"]) == ("running", False)
    resumed = server.post(paused["links"]["resume"])
    assert (resumed.status_code, resumed.json()["uuid"]) == (200, record["uuid"]), resumed.text
    until(server, record, lambda now: now["attempt"] == 2 and step_of(now) > steps // 2)
    kill(server, record, "process")
    done = server.wait_run(record, timeout=120)
    assert (done["status"], done["attempt"]) == ("done", 3), (done, server.log(record))
    assert hashes(server, done) == hashes(server, unbroken)
    refused = server.post(f"{done['links']['self']}/resume")
    assert refused.status_code == 409 and "done" in refused.json()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_classifier_killed_at_random_moments_ends_with_the_same_bytes(server, seed):
    chance = random.Random(seed)
    arguments = {**ARGUMENTS, "epochs": 8, "early_stopping": 3, "erasing": 0.5}
    started = time.monotonic()
    unbroken = server.wait_run(server.train(MODEL, **arguments), timeout=300)
    took_s = time.monotonic() - started
    record = server.train(MODEL, **arguments)
    for attempt in (1, 2, 3):
        until(server, record, lambda now: now["attempt"] >= attempt or now["status"] != "running")  # noqa: B023
        time.sleep(chance.uniform(0.0, took_s / 2))
        if chance.random() < 0.3:
            server.kill()
            kill(server, record, chance.choice(["process", "supervisor"]))
            server.start()
            server.wait_ready(MODEL)
        else:
            kill(server, record, chance.choice(["process", "supervisor"]))
    done = server.wait_run(record, timeout=300)
    assert done["status"] == "done", (done, server.log(record))
    assert hashes(server, done) == hashes(server, unbroken)


def test_ended_training_is_resumed_as_a_new_one_and_asks_for_its_secrets(start_server):
    server = start_server("--model-name", "stepper")
    server.wait_ready("stepper")
    record = server.train("stepper", steps=400, seconds=0.01, token="open sesame")
    until(server, record, lambda now: step_of(now) >= 12)
    assert "pause" in server.run(record)["links"]
    server.delete(record["links"]["self"])
    ended = server.wait_run(record)
    assert "resume" in ended["links"]
    url = ended["links"]["resume"]
    missing = server.post(url)
    assert (missing.status_code, list(missing.json())) == (422, ["token"]), missing.text
    wrong = server.post(url, json={"token": "open sesame", "steps": 3})
    assert (wrong.status_code, list(wrong.json())) == (422, ["steps"]), wrong.text
    answer = server.post(url, json={"token": "open sesame"})
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert (again["resumed_from"], answer.headers["Location"]) == (
        record["uuid"], again["links"]["self"],
    )  # fmt: skip
    assert server.post(url, json={"token": "open sesame"}).status_code == 409
    until(server, again, lambda now: step_of(now) >= 13)
    text = server.log(again)
    assert "went on after step" in text and "token of 11" in text
    server.delete(again["links"]["self"])
    server.wait_run(again)


def test_what_cannot_be_paused_or_resumed_says_why(start_server):
    server = start_server("--model-name", "counter")
    server.wait_ready("counter")
    record = server.train("counter", steps=1000, seconds=0.05)
    until(server, record, lambda now: now["phase"] == "training")
    paused = server.post(f"{record['links']['self']}/pause")
    assert paused.status_code == 409 and "run.resume_from" in paused.json()["message"]
    assert server.post(f"{record['links']['self']}/resume").status_code == 409
    unfit = server.post(f"{record['links']['self']}/resume", json={"steps": 1})
    assert (unfit.status_code, list(unfit.json())) == (422, ["steps"])
    server.delete(record["links"]["self"])
    server.wait_run(record)
    gone = server.post(f"{record['links']['self']}/resume")
    assert gone.status_code == 409 and "does not go on" in gone.json()["message"]
    assert server.post(f"/v2/models/counter/train/{'0' * 32}/pause").status_code == 404
