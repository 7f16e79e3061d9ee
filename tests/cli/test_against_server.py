"""The commands against a real server with plugins: train, watch, cancel, predict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

MODELS = ("counter", "kinds", "files", "bare", "broken-import")


@pytest.fixture(scope="module")
def server(serve_module):
    # No --model-name: a named model that cannot be loaded, as broken-import, ends the server.
    server = serve_module("--max-trainings", "2", "--load-timeout", "5", "--no-warm-start")
    for model in MODELS:
        server.wait_ready(model)
    return server


@pytest.fixture(scope="module")
def yard(server, modelyard):
    """The command, talking to the server."""

    def run(*words, code: int = 0, **more):
        done = modelyard(*words, url=server.url, **more)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def trained(yard):
    """The record of a training of `counter` that ended well."""
    run = json.loads(yard("train", "counter", "--steps", "4", "--json").stdout)
    yard("runs", f"counter/{run['uuid']}", "--follow")
    return run


def test_models_are_listed_with_their_state_and_error(yard):
    lines = yard("models").stdout.splitlines()
    assert any(line.startswith("counter") and "ready" in line for line in lines)
    assert any(line.startswith("broken-import") and "failed" in line for line in lines)
    listed = json.loads(yard("models", "--json").stdout)
    assert {item["id"] for item in listed} >= set(MODELS)


def test_one_model_is_described_with_its_arguments(yard):
    text = yard("models", "counter").stdout
    assert "loss_at" in text
    assert "list of numbers" in text
    assert "1..100000" in text
    assert "well, raise, exit" in text


def test_options_are_made_of_the_models_arguments(yard):
    text = yard("train", "counter", "--help").stdout
    assert "--steps INTEGER" in text
    assert "[1..100000; default: 3]" in text
    assert "--end [well|raise|exit|" in text
    assert "per step  [s; default: 0.0]" in text
    assert "counter" in yard("train", "--help").stdout


def test_wrong_values_are_told_by_option_with_exit_code_2(yard):
    done = yard("train", "counter", "--steps", "0", "--loss_at", "x", "--end", "never", code=2)
    assert done.stdout == ""
    for option in ("--steps: ", "--loss-at: ", "--end: "):
        assert option in done.stderr
    assert "No such option" in yard("train", "counter", "--stepz", "1", code=2).stderr


def test_a_model_that_cannot_be_used_says_why(yard):
    assert "cannot be trained" in yard("train", "bare", code=1).stderr
    assert "cannot be used now" in yard("train", "broken-import", code=1).stderr
    assert "Models: " in yard("train", "no-such-model", code=2).stderr


def test_train_tells_how_to_watch_and_cancel(yard):
    text = yard("train", "counter", "--steps", "1").stdout
    assert "modelyard runs counter/" in text
    assert "--cancel" in text


def test_follow_shows_progress_and_metrics_until_the_end(yard):
    done = yard("train", "counter", "--steps", "20", "--seconds", "0.05", "--follow")
    assert "\ntraining" in done.stdout
    assert "loss " in done.stdout
    assert "count 20" in done.stdout
    assert "Done in" in done.stdout


def test_a_followed_run_that_fails_exits_with_1_and_says_why(yard):
    done = yard("train", "counter", "--end", "raise", "--follow", "--log", code=1)
    assert "the count went wrong" in done.stderr
    assert "counting 3 steps" in done.stdout


def test_follow_for_programs_is_json_lines(yard):
    done = yard("train", "counter", "--steps", "2", "--follow", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events} == {"record", "metrics", "end"}
    assert events[-1]["data"]["status"] == "done"


def test_ctrl_c_leaves_the_run_going_and_says_how_to_cancel(server, yard):
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard", "train", "counter", "--steps", "600", "--seconds",
         "0.1", "--follow"],
        env={**os.environ, "MODELYARD_URL": server.url, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("training"):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "--cancel" in told
    assert "Traceback" not in told
    run = told.split("modelyard runs ")[1].split()[0]
    assert json.loads(yard("runs", run, "--json").stdout)["status"] == "running"
    assert "cancelled" in yard("runs", run, "--cancel").stdout
    deadline = time.monotonic() + 10
    while json.loads(yard("runs", run, "--json").stdout)["phase"] != "finished":
        assert time.monotonic() < deadline


def test_runs_are_listed_and_shown(yard, trained):
    assert trained["uuid"][:12] in yard("runs", "counter").stdout
    assert " 4/4 " in yard("runs", "counter").stdout
    assert trained["uuid"] in yard("runs", "--json", "--status", "done").stdout
    assert "--steps" in yard("runs", trained["uuid"]).stdout
    assert json.loads(yard("runs", trained["uuid"][:12], "--json").stdout)["status"] == "done"
    assert "had ended before" in yard("runs", trained["uuid"], "--cancel").stdout
    assert "no run" in yard("runs", "counter/abcdef", code=1).stderr
    assert "neither a model nor a run" in yard("runs", "xyz", code=1).stderr


def test_the_log_is_shown_whole_or_its_tail(yard, trained):
    assert "counting 4 steps" in yard("runs", trained["uuid"], "--log").stdout
    assert yard("runs", trained["uuid"], "--log", "--tail", "0").stdout == ""


def test_predict_uses_the_weights_that_are_asked_for(yard, trained):
    version = json.loads(yard("weights", "counter", "--json").stdout)[-1]
    table = yard("weights", "counter").stdout
    assert version["id"] in table
    assert "latest" in table
    answer = yard("predict", "counter", "--plus", "100", "--weights", version["id"]).stdout
    assert json.loads(answer)["predictions"] == {"count": version["metrics"]["count"] + 100}
    refused = yard("predict", "counter", "--weights", "none", code=2)
    assert "--weights: The model counter has no weights version" in refused.stderr


def test_arguments_of_every_kind_reach_the_model(yard):
    done = yard(
        "predict", "kinds", "--whole", "7", "--flag", "--numbers", "1", "--numbers", "2",
        "--mapping", '{"a": 1}', "--box", '{"left": 3}', "--maybe", "null", "--colour", "red",
        "--tensor", "[[1, 2], [3, 4]]", "--text", "null", "--day", "2026-11-21",
    )  # fmt: skip
    answer = json.loads(done.stdout)
    answer = answer.get("predictions", answer)
    assert answer["whole"] == ["int", 7]
    assert answer["flag"] == ["bool", True]
    assert answer["numbers"] == ["list", [1, 2]]
    assert answer["mapping"] == ["dict", {"a": 1}]
    assert answer["box"][1]["left"] == 3
    assert answer["maybe"] == ["NoneType", None]
    assert answer["text"] == ["str", "null"]
    assert answer["tensor"][0] == "ndarray"
    assert answer["day"][0] == "date"


def test_files_go_by_their_argument_or_by_file(yard, tmp_path):
    picture = tmp_path / "größe 1.png"
    picture.write_bytes(b"x" * 300_000)
    for word in ("--file", "--upload"):
        done = yard("predict", "files", word, picture, "--more", picture, "--more", picture)
        answer = json.loads(done.stdout)
        answer = answer.get("predictions", answer)
        assert (answer["name"], answer["bytes"]) == (picture.name, 300_000)
        assert answer["more"] == [picture.name] * 2
    assert "takes no file" in yard("predict", "bare", "--file", picture, code=2).stderr


def test_an_answer_that_is_a_file_is_written_to_the_output(yard, tmp_path):
    source, target = tmp_path / "a.txt", tmp_path / "b.png"
    source.write_text("x")
    yard("predict", "files", "--file", source, "--accept", "image/png", "--output", target)
    assert target.read_bytes().startswith(b"\x89PNG")
    missing = tmp_path / "no" / "folder"
    done = yard("predict", "files", "--file", source, "--output", missing, code=1)
    assert "No such file" in done.stderr


@pytest.mark.slow
def test_ended_runs_are_purged_one_or_all_but_the_newest(yard):
    runs = [json.loads(yard("train", "counter", "--json").stdout)["uuid"] for _ in range(3)]
    for run in runs:
        yard("runs", f"counter/{run}", "--follow")
    assert "is removed" in yard("runs", f"counter/{runs[0]}", "--purge").stdout
    assert runs[0] not in yard("runs", "counter").stdout
    yard("runs", "counter", "--purge", "--keep", "1")
    left = [run["uuid"] for run in json.loads(yard("runs", "counter", "--json").stdout)]
    assert left == [runs[2]]
    assert "--keep N" in yard("runs", "counter", "--purge", code=2).stderr


def test_training_with_a_time_limit_and_restarts_is_told_with_its_attempts(yard):
    words = ["--end", "raise", "--max-seconds", "50", "--restart-on-failure", "1", "--follow"]
    told = yard("train", "counter", *words, "--json", code=1).stdout.splitlines()
    ended = json.loads(told[-1])["data"]
    assert (ended["max_seconds"], ended["attempt"]) == (50.0, 2)
    assert [one["reason"] for one in ended["attempts"]] == ["plugin_failed"] * 2


def test_wrong_limits_are_told_by_the_name_of_the_option(yard):
    refused = yard("train", "counter", "--max-seconds", "-3", code=2)
    assert "max-seconds" in refused.stderr
