"""A database that is harmed while the server has it open: told, never replaced, nothing lost."""

import os
import sqlite3
import time

import pytest

FLAGS = ("--model-name", "counter", "--no-warm-start")
LIST = "/v2/models/counter/train/"


@pytest.fixture
def server(start_server):
    """With one training in its records."""
    server = start_server(*FLAGS)
    server.wait_ready("counter")
    server.first = server.wait_run(server.train("counter"))
    assert server.first["status"] == "done"
    return server


def until(condition, within_s=60):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def recorded(server):
    return {record["uuid"]: record["status"] for record in server.get(LIST).json()}


def database(server):
    return server.home / "records.db"


def removed(server):
    database(server).unlink()


def replaced(server):
    """By one without any record, as another server might leave it there."""
    other = server.home.parent / "other.db"
    with sqlite3.connect(database(server)) as source, sqlite3.connect(other) as target:
        source.backup(target)
        target.execute("DELETE FROM runs")
    source.close()
    target.close()
    other.rename(database(server))


def without_its_log(server):
    """What was committed last is there, and not yet in the database."""
    (server.home / "records.db-wal").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        removed,
        pytest.param(replaced, marks=pytest.mark.slow),
        pytest.param(without_its_log, marks=pytest.mark.slow),
    ],
)
def test_a_database_that_is_taken_away_is_told_and_what_it_held_is_saved(server, tmp_path, harm):
    hold = tmp_path / "hold"
    running = server.train("counter", hold=str(hold))
    server.wait_run(running, "training")
    before = recorded(server)
    harm(server)
    left = database(server).stat().st_ino if database(server).exists() else None

    if harm is removed:  # noticed also while nobody asks for anything
        until(lambda: list(server.home.glob("records.db.saved-*")))
    for _ in range(2):
        refused = server.post(LIST, json={})
        assert refused.status_code == 503, refused.text
    assert "was removed or replaced while the server had it open" in refused.json()["detail"]
    (saved,) = server.home.glob("records.db.saved-*")
    assert str(saved) in refused.json()["detail"] and saved.stat().st_mode & 0o077 == 0
    assert server.get("/readyz").status_code == 503
    assert server.predict("counter", json={}).ok, "predictions need no records"
    assert recorded(server).keys() == before.keys(), "reading goes on"
    hold.touch()  # the training ends while nothing can be recorded
    until((server.home / "runs" / running["uuid"] / "exit.json").exists)
    assert server.run(running)["status"] == "running"
    now = database(server).stat().st_ino if database(server).exists() else None
    assert now == left, "no database was made in its place"
    server.kill()

    if harm is removed:
        server.start(wait=False)
        assert server.process.wait(60) == 1
        said = [line for line in server.lines if "records.db: is missing or empty" in line]
        assert said and str(saved) in said[-1], server.lines[-5:]
        assert not database(server).exists()
    for path in server.home.glob("records.db-*"):
        path.unlink()
    saved.rename(database(server))
    server.start()
    assert server.wait_run(running)["status"] == "done"
    assert recorded(server) == {server.first["uuid"]: "done", running["uuid"]: "done"}


def test_a_database_with_overwritten_pages_is_told_and_no_record_is_made_up(server):
    with database(server).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(os.urandom(max(size - 4096, 8192)))
    for _ in range(3):
        answer = server.post(LIST, json={})
        assert answer.status_code in (200, 503), answer.text
        assert answer.status_code == 200 or "damaged" in answer.json()["detail"], answer.text
    listed = server.get(LIST)
    assert listed.status_code == 503 or server.first["uuid"] in listed.text
    assert server.get("/healthz").ok
    assert server.predict("counter", json={}).ok
    server.kill()
    server.start(wait=False)
    assert server.process.wait(60) == 1
    said = [line for line in server.lines if line.startswith("modelyard: ")]
    assert str(database(server)) in said[-1] and "damaged" in said[-1], server.lines[-5:]
    assert (server.home / "runs" / server.first["uuid"]).is_dir()
