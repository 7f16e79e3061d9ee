"""A disk that runs full under a server: told, refused before work is taken, and all goes on after.

The home lies on a real file system of 64 MB.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import requests

FLAGS = ("--model-name", "counter", "--no-warm-start")
TMPFS = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs"]


@pytest.fixture
def disk(tmp_path, empty_home):
    """A small file system with a home; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = [*TMPFS, str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    shutil.copytree(empty_home, folder / "home")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(disk: Path, leave: int) -> None:
    """Leaves so many bytes of the disk; with 0 not one."""
    with (disk / "filler").open("ab", buffering=0) as file:
        try:
            while (room := shutil.disk_usage(disk).free - leave) > 0:
                file.write(bytes(min(room, 1 << 20)))
        except OSError:
            pass


def make_room(disk: Path) -> None:
    (disk / "filler").unlink()


def test_work_is_refused_before_the_disk_is_full_and_taken_when_there_is_room(disk, start_server):
    server = start_server(*FLAGS, "--min-free", "16M", home=disk / "home")
    server.wait_ready("counter")
    assert server.wait_run(server.train("counter"))["status"] == "done"
    running = server.train("counter", steps=50_000, seconds=0.01)
    server.wait_run(running, "training")
    fill(disk, 12 << 20)
    runs = "/v2/models/counter/train/"
    sent = {"filename": "a.zip", "size": 1000}
    for answer in (
        server.post(runs, json={}),
        server.post("/v2/datasets/", data=b"x", headers={"Content-Type": "application/zip"}),
        server.post("/v2/datasets/uploads/", json=sent),
        server.post("/v2/models/counter/weights/latest/exports/", json={"format": "safetensors"}),
    ):
        told = answer.json()
        assert (answer.status_code, told["type"]) == (507, "urn:modelyard:disk-full"), told
        assert told["reserve"] == 16 << 20 and 0 < told["free"] <= 12 << 20
        assert "--min-free" in told["detail"] and "room" in told["detail"]
    assert len(server.get(runs).json()) == 2
    assert list((disk / "home" / "tmp" / "calls").iterdir()) == []
    assert server.get("/readyz").status_code == 200
    assert server.predict("counter", json={}).ok
    assert server.run(running)["phase"] == "training", "what was taken goes on"
    assert server.delete(runs + running["uuid"]).json()["status"] == "cancelled"
    server.wait_run(running)
    make_room(disk)
    assert server.wait_run(server.train("counter"))["status"] == "done"
    large = server.post("/v2/datasets/uploads/", json={**sent, "size": 60 << 20})
    assert (large.status_code, large.json()["needed"]) == (507, 60 << 20)


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing_and_recovers(
    disk, start_server, tmp_path
):
    server = start_server(*FLAGS, "--min-free", "0", home=disk / "home")
    server.wait_ready("counter")
    kept = server.wait_run(server.train("counter", steps=4))
    assert kept["status"] == "done"
    hold = tmp_path / "hold"
    held = server.train("counter", steps=3, hold=str(hold))
    server.wait_run(held, "training")
    fill(disk, 0)
    for _ in range(3):  # the log of the database may have had a little room of its own
        refused = server.post("/v2/models/counter/train/", json={})
    assert refused.status_code == 507, refused.text
    zipped = {"Content-Type": "application/zip"}
    upload = server.post("/v2/datasets/", data=bytes(1 << 20), headers=zipped)
    assert (upload.status_code, upload.json()["type"]) == (507, "urn:modelyard:disk-full")
    hold.touch()  # the training comes to its checkpoint
    assert server.get("/healthz").ok
    assert server.predict("counter", json={}).json()["predictions"]["count"] == 4
    time.sleep(1)
    make_room(disk)
    ended = server.wait_run(held, timeout=120)
    told = (ended["status"], ended["reason"])
    assert told in [("error", "disk_full"), ("done", "completed")], (
        ended["reason"],
        ended["message"],
        server.log(held),
    )
    assert server.wait_run(server.train("counter", steps=5))["status"] == "done"
    version = server.get(f"/v2/models/counter/weights/{kept['weights']}/archive")
    assert version.ok, "what was stored is whole"
    assert list((disk / "home" / "tmp" / "calls").iterdir()) == []
    names = [path.name for path in (disk / "home" / "runs").iterdir()]
    assert len(names) == len(server.get("/v2/models/counter/train/").json())
    server.stop()
    again = start_server(*FLAGS, "--min-free", "0", home=disk / "home")
    assert again.get(f"/v2/models/counter/train/{kept['uuid']}").json()["status"] == "done"


def test_an_upload_that_fills_the_disk_leaves_no_file(disk, start_server):
    server = start_server(*FLAGS, "--min-free", "0", home=disk / "home")
    fill(disk, 4 << 20)

    def pieces():
        for _ in range(40):
            yield bytes(1 << 18)

    zipped = {"Content-Type": "application/zip"}
    for _ in range(2):
        try:
            told = server.post("/v2/datasets/", data=pieces(), headers=zipped)
            assert told.status_code == 507, told.text
        except requests.ConnectionError:  # the answer came, and the end, while we still sent
            pass
    end = time.monotonic() + 30
    while list((disk / "home" / "tmp" / "calls").iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert shutil.disk_usage(disk).free > 3 << 20
    assert server.get("/healthz").ok


@pytest.mark.parametrize("gone_by", ["the end", pytest.param("sweep", marks=pytest.mark.slow)])
def test_a_plugin_that_fills_the_disk_by_temporary_files_is_told_and_they_go(
    disk, start_server, gone_by
):
    """What it left goes with its worker, and before that within two minutes or so. Meanwhile other
    models go on, and what would take of the disk is refused."""
    server = start_server(
        *("--model-name", "scratch,counter,bare", "--no-warm-start", "--min-free", "16M"),
        home=disk / "home",
    )
    for model in ("scratch", "bare"):
        server.wait_ready(model)
    trained = server.wait_run(server.train("counter"))
    assert trained["status"] == "done"
    for _ in range(2):
        full = server.predict("scratch", json={"do": "fill"})
        assert full.status_code == 500, full.text
        assert "No space left on device" in full.text
    zipped = {"Content-Type": "application/zip"}
    upload = server.post("/v2/datasets/", data=bytes(1000), headers=zipped)
    assert (upload.status_code, upload.json()["type"]) == (507, "urn:modelyard:disk-full")
    assert server.post("/v2/models/counter/train/", json={}).status_code == 507
    assert server.predict("bare").status_code == 200
    assert server.predict("counter", json={}).json()["predictions"]["count"] == 3
    assert server.get("/readyz").status_code == 200
    assert server.get(f"/v2/models/counter/train/{trained['uuid']}").json()["status"] == "done"
    workers = disk / "home" / "tmp" / "workers"
    assert list(workers.glob("*/left-*"))
    if gone_by == "sweep":
        end = time.monotonic() + 240
        while list(workers.glob("*/left-*")):
            assert time.monotonic() < end
            time.sleep(1)
        assert server.predict("scratch", json={"do": "places"}).status_code == 200
        assert server.wait_run(server.train("counter"))["status"] == "done"
    else:
        server.stop()
        assert list(workers.iterdir()) == []
    assert shutil.disk_usage(disk).free > 32 << 20


def test_a_start_on_a_full_disk_is_refused_in_its_words_and_made_when_there_is_room(
    disk, start_server
):
    database = disk / "home" / "records.db"
    before = database.read_bytes()
    fill(disk, 0)
    server = start_server(*FLAGS, "--min-free", "0", home=disk / "home", wait=False)
    assert server.process.wait(60) == 1
    assert "the disk is full. Free some space" in "".join(server.lines)
    assert database.read_bytes() == before
    make_room(disk)
    server = start_server(*FLAGS, home=disk / "home")
    assert server.get("/v2/models/counter/train/").json() == []
