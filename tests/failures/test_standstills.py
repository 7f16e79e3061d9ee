"""A training whose code stops the processes that keep it is ended as soon as a dead one's is told.

What is stopped on purpose and goes on within a moment loses nothing.
"""

import os
import signal
import time

import pytest
from yard_waiting import wait_until

from modelyard.training.executor import read_identity
from modelyard.training.identity import Identity, read_stat
from modelyard.training.marker import marked
from modelyard.training.paths import RunPaths, read_json

TOLD = "supervisor process was stopped by a signal (SIGSTOP)"


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "hostile,counter", "--max-trainings", "1")
    server.wait_ready("hostile")
    server.wait_ready("counter")
    return server


def paths_of(server, record):
    return RunPaths(server.home / "runs" / record["uuid"])


def keepers(server, record):
    """Supervisor and guardian of a run."""
    paths = paths_of(server, record)
    guardian = (read_json(paths.supervisor) or {})["guardian"]
    return read_identity(paths.supervisor), Identity.from_data(guardian)


def is_stopped(identity):
    stat = read_stat(identity.pid)
    return stat is not None and stat.state == "T"


def test_a_training_that_stops_its_supervisor_is_ended_begun_again_and_frees_its_place(server):
    record = server.post(
        "/v2/models/hostile/train/",
        params={"restart_on_failure": 1},
        json={"do": "stop_supervisor"},
    ).json()
    waiting = server.train("counter", steps=1)
    ended = server.wait_run(record)
    assert (ended["status"], ended["reason"]) == ("error", "process_died")
    assert TOLD in ended["message"] and "pause" in ended["message"], "the remedy"
    assert [TOLD in (one["message"] or "") for one in ended["attempts"]] == [True, True]
    assert server.wait_run(waiting)["status"] == "done"
    wait_until(lambda: not marked(record["uuid"]))
    assert not paths_of(server, record).exit.exists(), "nobody but the server has told of its end"


def test_a_training_that_stops_all_that_is_above_it_keeps_no_other_from_being_started(server):
    first = server.train("hostile", do="stop_all_above")
    waiting = server.train("counter", steps=1)
    assert TOLD in server.wait_run(first)["message"]
    assert server.wait_run(waiting)["status"] == "done"
    wait_until(lambda: not marked(first["uuid"]))


def test_a_guardian_that_was_stopped_does_not_stay_when_its_run_is_done(server):
    record = server.train("hostile", do="stop_guardian")
    assert server.wait_run(record)["status"] == "done"
    wait_until(lambda: not marked(record["uuid"]))


def test_a_supervisor_that_is_stopped_and_goes_on_in_a_moment_keeps_its_run(server):
    record = server.train("counter", steps=100_000, seconds=0.05)
    server.wait_run(record, "training")
    supervisor, _ = keepers(server, record)
    for _ in range(3):
        os.kill(supervisor.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(supervisor))
        time.sleep(2.0)
        os.kill(supervisor.pid, signal.SIGCONT)
        time.sleep(0.3)
    assert supervisor.alive() and server.run(record)["status"] == "running"
    server.delete(record["links"]["self"])
    assert server.wait_run(record)["status"] == "cancelled"


def test_a_server_that_takes_in_a_run_whose_supervisor_stands_still_ends_it_too(start_server):
    server = start_server("--model-name", "hostile")
    server.wait_ready("hostile")
    record = server.train("hostile", do="stop_supervisor")
    wait_until(lambda: paths_of(server, record).supervisor.exists())
    supervisor, _ = keepers(server, record)
    wait_until(lambda: is_stopped(supervisor))
    server.kill()
    ended = server.start().wait_run(record)
    assert ended["reason"] == "process_died" and TOLD in ended["message"]
    assert not supervisor.signal(signal.SIGCONT), "there is nobody left to write late"
    wait_until(lambda: not marked(record["uuid"]))
