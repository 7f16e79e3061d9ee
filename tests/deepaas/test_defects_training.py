"""Defects of DEEPaaS that somebody who trains meets, each mended here."""

import datetime
import re
import time

import pytest


@pytest.fixture(scope="module")
def server(serve_old):
    return serve_old(
        *("old-trainer", "old-files", "old-keeper", "old-warm"), flags=("--max-trainings", "2")
    )


@pytest.fixture(scope="module")
def cancelled(server):
    """A training cancelled while it ran: its id, the answer to DELETE, its model's path."""
    record = server.train("old-trainer", do="epochs", seconds=0.05, password="hush")
    server.wait_run(record, until="training")
    path = f"/v2/models/old-trainer/train/{record['uuid']}"
    return record["uuid"], server.delete(path), path


def test_cancelling_a_running_training_answers_its_record(cancelled):
    """KD-03: DEEPaaS answers 500, although the work is killed."""
    uuid, answer, _ = cancelled
    assert answer.status_code == 200
    assert (answer.json()["uuid"], answer.json()["status"]) == (uuid, "cancelled")


def test_a_cancelled_training_stays_in_the_list(server, cancelled):
    """KD-04: DEEPaaS forgets it."""
    uuid, _, path = cancelled
    assert server.get(path).json()["status"] == "cancelled"
    listed = server.get("/v2/models/old-trainer/train/").json()
    assert [one["status"] for one in listed if one["uuid"] == uuid] == ["cancelled"]


def test_a_training_whose_process_dies_is_an_error(server):
    """KD-07: in DEEPaaS it stays `running`."""
    ended = server.wait_run(server.train("old-trainer", do="exit"))
    assert ended["status"] == "error"
    assert "3" in ended["message"]


@pytest.mark.parametrize("do", ["numpy", "date", "object", "history", "set"])
def test_no_result_makes_the_record_or_the_list_unreadable(server, do):
    """KD-08: DEEPaaS answers 500 for both, for ever."""
    record = server.wait_run(server.train("old-trainer", do=do))
    assert record["status"] in ("done", "error")
    assert server.get("/v2/models/old-trainer/train/").status_code == 200


def test_a_date_as_an_argument_of_a_training_is_in_its_record(server):
    """KD-09: DEEPaaS answers 500 and trains all the same."""
    record = server.train("old-trainer", when="2026-01-02T03:04:05")
    assert record["args"]["when"] == "2026-01-02T03:04:05"
    assert server.wait_run(record)["status"] == "done"


def test_a_file_as_an_argument_of_a_training_is_readable(server):
    """KD-11: in DEEPaaS the training ends with "I/O operation on closed file"."""
    sent = {"files": {"data": ("rows.csv", b"1,2\n"), "labels": ("labels.csv", b"1\n")}}
    record = server.post("/v2/models/old-files/train/", **sent).json()
    assert record["args"] == {"data": "rows.csv", "labels": "labels.csv"}
    ended = server.wait_run(record)
    assert ended["result"]["output"] == {"size": 4, "labels": True, "name": "data"}


def test_predictions_are_answered_while_a_training_runs(server, predictions):
    """KD-12: DEEPaaS keeps them waiting until it ends."""
    record = server.train("old-warm", seconds=30)
    server.wait_run(record, until="training")
    started = time.monotonic()
    assert predictions(server.predict("old-warm"))["warmed"]
    assert time.monotonic() - started < 25
    server.delete(f"/v2/models/old-warm/train/{record['uuid']}")


def test_a_record_is_found_with_a_slash_at_its_end(server, cancelled):
    """KD-24: DEEPaaS answers 404."""
    uuid, _, path = cancelled
    assert server.get(path + "/").json()["uuid"] == uuid
    assert server.delete(path + "/").json()["status"] == "cancelled"


def test_a_password_is_in_no_record_list_or_log(server, cancelled):
    """KD-38: DEEPaaS shows it in every list."""
    _, answer, path = cancelled
    assert "password" not in answer.json()["args"]
    for shown in (path, "/v2/models/old-trainer/train/", path + "/log"):
        assert "hush" not in server.get(shown).text


def test_what_a_training_just_wrote_can_be_chosen_at_once(server, predictions):
    """KD-41: DEEPaaS builds its choices at start; guides tell to kill the server."""
    assert server.predict("old-keeper", params={"model": "fresh"}).status_code == 422
    record = server.train("old-keeper", do="timestamp", name="ignored")
    before = server.train("old-keeper", do="named", name="fresh")
    for training in (record, before):
        assert server.wait_run(training)["status"] == "done"
    until = time.monotonic() + 60  # it is asked anew when the training has ended
    while (answer := server.predict("old-keeper", params={"model": "fresh"})).status_code == 422:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert predictions(answer) == {"model": "fresh", "files": ["conf", "weights.h5"]}
    until = time.monotonic() + 60
    while "fresh" not in _choices(server) and time.monotonic() < until:
        time.sleep(0.1)
    assert {"first", "second", "fresh", "none"} <= set(_choices(server))
    assert any(choice.startswith("at-") for choice in _choices(server))


def _choices(server):
    post = server.get("/swagger.json").json()["paths"]["/v2/models/old-keeper/predict/"]["post"]
    return next(item["enum"] for item in post["parameters"] if item["name"] == "model")


def test_times_are_told_with_a_zone_too_and_ids_are_hex_digits(server):
    """KD-42: DEEPaaS tells local time without a zone, and ids that are none of its format."""
    record = server.train("old-trainer")
    local = datetime.datetime.fromisoformat(record["date"]).astimezone()
    created = datetime.datetime.fromisoformat(record["created_at"])
    assert created.tzinfo is not None
    assert abs(local - created) < datetime.timedelta(seconds=1)
    assert re.fullmatch("[0-9a-f]{32}", record["uuid"])
    uuid = server.get("/swagger.json").json()["definitions"]["Run"]["properties"]["uuid"]
    assert uuid.get("format") != "uuid"
