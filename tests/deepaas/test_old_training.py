"""Trainings of old modules: whatever `train` returns, prints or changes, the record tells it."""

import time

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(
        "old-trainer", "old-keeper", "old-instance", "old-hostile", flags=("--max-trainings", "2")
    )


def ended(server, **arguments):
    record = server.train("old-trainer", **arguments)
    return server.wait_run(record)


@pytest.mark.parametrize(
    ("do", "output"),
    [
        ("dict", {"loss": 0.25}),
        ("none", None),
        ("text", "trained well"),
        ("set", ["trained well"]),
        ("numpy", {"accuracy": 0.5, "confusion": [[1.0, 0.0], [0.0, 1.0]]}),
        ("history", {"history": {"loss": [0.5, 0.25]}, "epoch": [0, 1]}),
        ("date", {"ended": "2026-01-02T03:04:05"}),
    ],
)
def test_results_of_any_kind_end_well(server, do, output):
    record = ended(server, do=do)
    assert (record["status"], record["result"]["output"]) == ("done", output)


def test_a_result_without_a_json_form_ends_well_and_is_named(server):
    record = ended(server, do="object")
    assert record["status"] == "done"
    assert "object" in record["message"] or "object" in str(record["result"]["output"])
    assert server.get("/v2/models/old-trainer/train/").status_code == 200


def test_prints_and_logs_are_in_the_log_of_the_run(server):
    record = server.train("old-trainer", do="text")
    server.wait_run(record)
    log = server.log(record)
    for line in ("training text", "to stderr text", "logged by oslo text", "logged by logging"):
        assert line in log


def test_a_training_changes_neither_the_globals_nor_the_environment_of_predictions(
    server, predictions
):
    assert ended(server)["status"] == "done"
    now = predictions(server.predict("old-trainer"))
    assert now == {"environment": None, "state": {"trained": 0}}


def test_an_object_trains_with_its_state(server):
    record = server.train("old-instance")
    assert server.wait_run(record)["result"]["output"] == {"calls": 10}


def test_a_training_that_prints_megabytes_ends(server):
    record = ended(server, do="print")
    assert (record["status"], record["result"]["output"]) == ("done", "printed")


def test_a_training_whose_process_dies_is_an_error(server):
    record = ended(server, do="exit")
    assert record["status"] == "error"
    assert record["message"]


def test_a_training_that_changes_its_whole_environment_still_ends(server):
    record = server.train("old-hostile", do="environment")
    assert server.wait_run(record)["status"] == "done"


def test_a_cancelled_training_ends_at_once(server):
    record = server.train("old-trainer", do="epochs", seconds=0.05)
    server.wait_run(record, until="training")
    started = time.monotonic()
    answer = server.delete(f"/v2/models/old-trainer/train/{record['uuid']}")
    assert answer.status_code == 200
    assert time.monotonic() - started < 30
    assert answer.json()["status"] == "cancelled"
    assert server.wait_run(record)["status"] == "cancelled"
