"""A home is copied while its server trains, and a server on the copy has all of it."""

import json
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

FLAGS = ("--model-name", "stepper,counter", "--max-trainings", "3", "--no-warm-start")


def started(start_server, *flags, **more):
    server = start_server(*FLAGS, *flags, **more)
    for model in ("stepper", "counter"):
        server.wait_ready(model)
    return server


def checkpoint_of(server, record) -> int:
    end = time.monotonic() + 60
    address = server.run(record)["links"]["checkpoints"]
    while (last := server.get(address).json()["last"]) is None:
        assert time.monotonic() < end, server.log(record)
        time.sleep(0.05)
    return last if isinstance(last, int) else last["step"]


def test_a_home_is_copied_under_running_trainings_and_restored_elsewhere(
    start_server, modelyard, tmp_path
):
    server = started(start_server)
    done = server.wait_run(server.train("counter", steps=4))
    sent = server.post(
        "/v2/datasets/", params={"name": "birds"}, files=[("file", ("a.txt", b"one"))]
    ).json()
    walking = server.train("stepper", steps=100_000, seconds=0.02)
    counting = server.train("counter", steps=50_000, seconds=0.01)
    waiting = [server.train("counter", steps=4) for _ in range(2)]
    checkpoint_of(server, walking)
    stop = threading.Event()

    def busily():
        while not stop.is_set():
            server.post("/v2/datasets/uploads/", json={"filename": "a.zip", "size": 9})
            server.post(
                "/v2/datasets/", params={"name": "many"},
                files=[("file", ("a.txt", str(time.time_ns()).encode()))],
            )  # fmt: skip

    busy = threading.Thread(target=busily)
    busy.start()
    try:
        made = modelyard("backup", tmp_path / "copy", "--home", server.home)
    finally:
        stop.set()
        busy.join()
    assert made.returncode == 0, made.stderr
    assert server.run(walking)["phase"] == "training", "the original goes on"
    checked = modelyard("doctor", "--home", tmp_path / "copy", "--quick")
    assert checked.returncode == 0, checked.stdout

    shutil.copytree(tmp_path / "copy", tmp_path / "elsewhere", symlinks=True)
    again = started(start_server, home=tmp_path / "elsewhere")
    assert again.run(done) == server.run(done)
    for record in (walking, counting):
        now = again.run(record)
        assert (now["status"], now["phase"]) == ("running", "paused"), now
        assert "backup" in now["message"]
    assert {again.run(record)["phase"] for record in waiting} <= {"paused", "finished"}
    assert again.predict("counter", json={}).json()["predictions"]["count"] == 4
    version = again.get(f"/v2/models/counter/weights/{done['weights']}/archive")
    assert version.ok and len(version.content) > 100
    assert again.get(f"/v2/datasets/{sent['id']}").json()["local"] is True
    for one in again.get("/v2/datasets/", params={"limit": 1000}).json()["datasets"]:
        assert (again.home / "datasets" / one["id"] / "manifest.json").exists()

    assert server.delete(f"/v2/models/stepper/train/{walking['uuid']}").ok
    server.stop()
    resumed = again.post(again.run(walking)["links"]["resume"])
    assert resumed.ok and resumed.json()["uuid"] == walking["uuid"]
    again.wait_run(walking, "training")
    end = time.monotonic() + 60
    while "went on after step" not in again.log(walking):
        assert time.monotonic() < end, again.log(walking)
        time.sleep(0.1)


def test_records_that_are_not_in_the_file_yet_are_in_the_copy(modelyard, tmp_path, empty_home):
    """`cp` of the file alone would lose them: they are in SQLite's log."""
    home = shutil.copytree(empty_home, tmp_path / "home")
    holder = sqlite3.connect(home / "records.db", isolation_level=None)
    holder.execute("PRAGMA wal_autocheckpoint=0")
    holder.execute("INSERT INTO alias_moves VALUES (1,'m','a',NULL,1,'',0,'2026-01-01','',NULL)")
    assert modelyard("backup", tmp_path / "copy", "--home", home).returncode == 0
    with sqlite3.connect(tmp_path / "copy" / "records.db") as copy:
        assert copy.execute("SELECT count(*) FROM alias_moves").fetchone() == (1,)
    copy.close()
    holder.close()


@pytest.fixture
def trained_home(start_server):
    """A home without its server, the ids of its two runs, and of a version."""
    server = started(start_server)
    runs = [server.wait_run(server.train("counter", steps=2))["uuid"] for _ in range(2)]
    version = server.get("/v2/models/counter/weights/latest").json()["id"]
    server.stop()
    return server.home, runs, version


def test_a_home_that_lacks_a_folder_is_copied_without_it_and_that_is_told(
    modelyard, tmp_path, trained_home
):
    home, runs, version = trained_home
    shutil.rmtree(home / "runs" / runs[0])
    (home / "weights" / version).rename(tmp_path / "kept")
    made = modelyard("backup", tmp_path / "copy", "--home", home)
    assert made.returncode == 1
    assert f"runs/{runs[0]}" in made.stderr and f"weights/{version}" in made.stderr
    assert list((tmp_path / "copy" / "runs" / runs[1]).iterdir())
    (tmp_path / "kept").rename(home / "weights" / version)
    again = modelyard("backup", tmp_path / "again", "--home", home, "--json")
    assert again.returncode == 1 and json.loads(again.stdout)["missing"] == [f"runs/{runs[0]}"]


def test_a_version_that_is_corrupt_is_copied_and_named(modelyard, tmp_path, trained_home):
    home, _, version = trained_home
    file = home / "weights" / version / "files" / "count.json"
    good = file.read_text()
    file.chmod(0o644)
    file.write_text(good.replace("2", "3"))
    made = modelyard("backup", tmp_path / "copy", "--home", home)
    assert made.returncode == 1, made.stdout
    assert f"weights/{version} (count.json is not what its manifest says" in made.stderr
    assert (tmp_path / "copy" / "weights" / version / "files" / "count.json").exists()
    again = modelyard("backup", tmp_path / "again", "--home", home, "--json")
    assert again.returncode == 1
    assert list(json.loads(again.stdout)["corrupt"]) == [f"weights/{version}"]
    file.write_text(good)
    assert modelyard("backup", tmp_path / "good", "--home", home).returncode == 0


def test_all_of_a_users_files_are_in_the_copy_whatever_their_names(
    start_server, modelyard, tmp_path
):
    """Only what the run's own processes are just writing is left out."""
    server = started(start_server)
    files = [("file", (name, b"one")) for name in ("a.txt", "b.tmp", ".c.tmp")]
    sent = server.post("/v2/datasets/", params={"name": "birds"}, files=files).json()
    record = server.wait_run(server.train("stepper", steps=5))
    server.stop()
    run = server.home / "runs" / record["uuid"]
    (checkpoint,) = (run / "checkpoints").glob("0*")
    named = [run / "plugin" / "best.tmp", checkpoint / "state" / "optimizer.tmp"]
    named += [run / "plugin" / ".x.tmp", run / "plugin" / "tmp", run / "plugin" / "stop"]
    for path in named:
        path.write_text("mine")
    (run / "checkpoints" / ".0000000010.7.tmp").mkdir()
    (run / ".status.json.7.8.tmp").write_text("half")
    made = modelyard("backup", tmp_path / "copy", "--home", server.home)
    assert made.returncode == 0, made.stderr
    for path in named:
        assert (tmp_path / "copy" / path.relative_to(server.home)).read_text() == "mine", path
    copied = tmp_path / "copy" / "runs" / record["uuid"]
    assert not [path for path in copied.rglob(".*.tmp") if path.parent.name != "plugin"]
    dataset = tmp_path / "copy" / "datasets" / sent["id"] / "files"
    assert {path.name for path in dataset.iterdir()} == {"a.txt", "b.tmp", ".c.tmp"}


def test_a_restored_home_needs_nothing_of_where_the_first_one_was(
    start_server, modelyard, tmp_path
):
    server = started(start_server, "--max-trainings", "1")
    sent = server.post(
        "/v2/datasets/", params={"name": "birds"}, files=[("file", ("a.txt", b"one"))]
    ).json()
    blocking = server.train("counter", steps=50_000, seconds=0.05)
    server.wait_run(blocking, "training")
    waiting = server.post(
        "/v2/models/stepper/train/", params={"dataset": sent["id"]}, json={"steps": 5}
    ).json()
    made = modelyard("backup", tmp_path / "copy", "--home", server.home)
    assert made.returncode == 0, made.stderr
    assert server.delete(f"/v2/models/counter/train/{blocking['uuid']}").ok
    server.wait_run(blocking)
    server.stop()
    shutil.rmtree(server.home)
    again = started(start_server, home=tmp_path / "copy")
    resumed = again.post(again.run(waiting)["links"]["resume"])
    assert resumed.ok, resumed.text
    done = again.wait_run(waiting)
    assert done["status"] == "done", (done, again.log(waiting))
    assert "stored: ['a.txt']" in again.log(waiting)


@pytest.mark.slow
def test_what_cannot_be_copied_leaves_nothing_and_says_why(modelyard, tmp_path, empty_home):
    none = modelyard("backup", tmp_path / "copy", "--home", tmp_path / "nowhere")
    assert none.returncode == 1 and "is no home" in none.stderr
    home = shutil.copytree(empty_home, tmp_path / "home")  # other tests copy what is there
    there = modelyard("backup", tmp_path, "--home", home)
    assert there.returncode == 1 and "is there already" in there.stderr
    inside = modelyard("backup", home / "copy", "--home", home)
    assert inside.returncode == 1 and "in the home itself" in inside.stderr
    assert not list(tmp_path.glob("copy*"))


def test_a_backup_to_a_disk_that_is_too_small_leaves_nothing(modelyard, tmp_path, empty_home):
    home = shutil.copytree(empty_home, tmp_path / "home")
    (home / "large.key").write_bytes(bytes(9 << 20))
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        full = modelyard("backup", small / "copy", "--home", home)
        assert full.returncode == 1 and "No space left" in full.stderr
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
