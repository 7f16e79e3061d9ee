"""Plugins' temporary files lie in the home, in a folder that goes with the process, or nowhere.

test_own_environments.py looks at models with an interpreter of their own.
"""

import time
from pathlib import Path

import pytest

MODELS = ("scratch", "old-scratch")


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", ",".join(MODELS))
    for model in MODELS:
        assert server.wait_ready(model)["state"] == "ready", server.get("/v2/models/").text
    return server


def places(server, model):
    answer = server.predict(model, json={"do": "places"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return told.get("predictions", told)


def gone(path, seconds=60):
    until = time.monotonic() + seconds
    while Path(path).exists() and time.monotonic() < until:
        time.sleep(0.05)
    return not Path(path).exists()


@pytest.mark.parametrize("model", MODELS)
def test_a_predictions_temporary_files_lie_in_the_home_in_a_folder_of_its_worker(server, model):
    told = places(server, model)
    (place,) = told["places"]
    assert Path(place).parent == server.home / "tmp" / "workers"
    assert Path(place).stat().st_mode & 0o777 == 0o700
    # What libraries would make anew in each process stays, for this model alone.
    assert set(told["caches"].values()) == {
        str(server.home / "cache" / model / name) for name in ("torchinductor", "tensorflow-hub")
    }


@pytest.mark.parametrize("model", MODELS)
def test_there_is_no_other_place_for_them_and_the_next_call_has_its_own_again(server, model):
    (place,) = places(server, model)["places"]
    lost = server.predict(model, json={"do": "lose"})
    assert lost.status_code == 500
    assert place in lost.text and "FileNotFoundError" in lost.text, lost.text
    assert places(server, model)["places"] == [place]


def test_a_temporary_folder_that_was_removed_under_a_server_comes_again_for_its_user_alone(server):
    (server.home / "tmp").rename(server.home / "away")  # at once, whatever is written there
    server.predict("scratch", json={"do": "places"})  # finds that it is gone
    (place,) = places(server, "scratch")["places"]
    upload = {"file": ("a", b"x" * 3_000_000)}
    server.predict("scratch", files=upload)  # its folder of the call
    for folder in (Path(place), server.home / "tmp" / "workers", server.home / "tmp"):
        assert folder.stat().st_mode & 0o777 == 0o700, folder


@pytest.mark.parametrize("model", MODELS)
def test_a_path_that_a_module_spells_itself_is_where_it_always_was(server, model, tmp_path):
    path = tmp_path / "kept.txt"
    answer = server.predict(model, json={"do": "write", "path": str(path)})
    assert "mine" in answer.text
    assert path.read_text() == "mine"


@pytest.mark.parametrize("model", MODELS)
def test_a_runs_temporary_files_lie_in_its_folder_and_are_gone_when_it_has_ended(server, model):
    record = server.wait_run(server.train(model))
    assert record["status"] == "done", server.log(record)
    told = record["result"]["output"]
    (place,) = told["places"]
    folder = server.home / "runs" / Path(record["links"]["self"]).name
    assert Path(place).parent == folder
    assert not Path(place).exists() and folder.exists()


@pytest.mark.slow
def test_they_are_gone_with_the_worker_and_what_a_kill_left_with_the_next_start(start_server):
    server = start_server("--model-name", "scratch")
    server.wait_ready("scratch")
    left = places(server, "scratch")["left"]
    assert Path(left).exists()
    record = server.train("scratch", seconds=600)
    server.wait_run(record, "training")
    (of_run,) = (server.home / "runs").glob("*/tmp")
    server.kill()
    assert gone(left, 0) is False
    begun = start_server("--model-name", "scratch", home=server.home)
    assert gone(left)
    begun.wait_ready("scratch")
    assert any(of_run.iterdir()), "a training that goes on keeps its own"
    left = places(begun, "scratch")["left"]
    assert begun.delete(record["links"]["self"]).status_code == 200
    assert gone(of_run)
    assert begun.stop() == 0
    assert gone(left)
    assert list((server.home / "tmp" / "workers").iterdir()) == []
