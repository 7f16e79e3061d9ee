"""A database that cannot be used: told at the start with file and remedy, never replaced; and while
the server runs, told to clients as what may pass."""

import json
import os
import shutil
import sqlite3
import subprocess
import time

import pytest

FLAGS = ("--model-name", "bare", "--no-warm-start")


@pytest.fixture
def home(tmp_path, empty_home):
    """With a run in its records, and its folder."""
    home = shutil.copytree(empty_home, tmp_path / "home")
    (home / "runs" / ("a" * 32)).mkdir()
    return home


def damage(home):
    path = home / "records.db"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))


def no_database(home):
    (home / "records.db").write_bytes(b"this is a text\n" * 400)


def missing(home):
    (home / "records.db").unlink()


def newer(home):
    with sqlite3.connect(home / "records.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def foreign(home):
    missing(home)
    with sqlite3.connect(home / "records.db") as connection:
        connection.execute("CREATE TABLE people (name)")
    connection.close()


def a_folder(home):
    missing(home)
    (home / "records.db").mkdir()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (damage, "put a backup in its place"),
        pytest.param(no_database, "put a backup in its place", marks=pytest.mark.slow),
        (missing, "is missing or empty, but this home has runs or weights. Put a backup"),
        (newer, "written by a newer release"),
        pytest.param(foreign, "not Modelyard's", marks=pytest.mark.slow),
        pytest.param(a_folder, "cannot be opened", marks=pytest.mark.slow),
    ],
)
def test_a_database_that_cannot_be_used_ends_the_start_and_stays_as_it_is(
    start_server, home, wrong, told
):
    wrong(home)
    path = home / "records.db"
    before = path.read_bytes() if path.is_file() else None
    server = start_server(*FLAGS, home=home, wait=False)
    assert server.process.wait(60) == 1
    said = [line for line in server.lines if line.startswith("modelyard: ")]
    assert len(said) == 1 and str(path) in said[0] and told in said[0], server.lines
    assert not any("Traceback" in line for line in server.lines)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.slow
def test_a_database_that_is_locked_at_the_start_is_told(start_server, home):
    holder = sqlite3.connect(home / "records.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    server = start_server(*FLAGS, home=home, wait=False)
    assert server.process.wait(60) == 1
    assert any("another program holds the database locked" in line for line in server.lines)
    holder.close()


def test_a_database_on_a_read_only_disk_is_told(start_server, home, tmp_path):
    bound = tmp_path / "bound"
    bound.mkdir()
    bind = [["mount", "--bind", home, bound], ["mount", "-o", "remount,bind,ro", bound]]
    if os.geteuid() != 0 or any(subprocess.run(c, capture_output=True).returncode for c in bind):
        subprocess.run(["umount", "-l", bound], capture_output=True)
        pytest.skip("no right to mount")
    try:
        server = start_server(*FLAGS, home=bound, wait=False)
        assert server.process.wait(60) == 1
        said = [line for line in server.lines if line.startswith("modelyard: ")]
        assert len(said) == 1 and str(bound) in said[0] and "Read-only" in said[0], server.lines
    finally:
        subprocess.run(["umount", "-l", bound], check=True)


@pytest.mark.slow
def test_a_database_that_is_locked_for_long_while_the_server_runs_is_no_fault_of_it(start_server):
    server = start_server("--model-name", "counter", "--no-warm-start")
    server.wait_ready("counter")
    assert server.wait_run(server.train("counter"))["status"] == "done"
    holder = sqlite3.connect(server.home / "records.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        refused = server.post("/v2/models/counter/train/", json={})
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) >= 1
        told = refused.json()
        assert told["type"] == "urn:modelyard:storage-unavailable"
        assert "records.db" in told["detail"] and "locked" in told["detail"]
        assert server.predict("counter", json={}).ok, "predictions need no records"
        listed = server.get("/v2/models/counter/train/")
        assert listed.status_code == 200 and len(listed.json()) == 1, "reading goes on"
        assert server.get("/healthz").ok
    finally:
        holder.close()
    assert server.wait_run(server.train("counter"))["status"] == "done"
    folders = list((server.home / "runs").iterdir())
    assert len(folders) == len(server.get("/v2/models/counter/train/").json())


@pytest.mark.slow
def test_a_run_that_ends_while_the_database_is_locked_is_told_when_it_is_free(
    start_server, tmp_path
):
    server = start_server("--model-name", "counter", "--no-warm-start")
    server.wait_ready("counter")
    hold = tmp_path / "hold"
    record = server.train("counter", hold=str(hold))
    server.wait_run(record, "training")
    holder = sqlite3.connect(server.home / "records.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        hold.touch()
        exit_file = server.home / "runs" / record["uuid"] / "exit.json"
        end = time.monotonic() + 60
        while not exit_file.exists():
            assert time.monotonic() < end, server.log(record)
            time.sleep(0.05)
        time.sleep(6)  # longer than a transaction waits
        assert server.run(record)["status"] == "running"
    finally:
        holder.close()
    ended = server.wait_run(record)
    assert ended["status"] == "done" and ended["weights"] is not None
    assert json.loads(exit_file.read_text())["status"] == "done"
