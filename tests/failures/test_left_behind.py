"""What the server's children have started, in sessions of their own too, is gone with them."""

import os
import signal
import threading
import time
import zipfile
from contextlib import suppress

import pytest
import requests

from modelyard.training.identity import Identity

SOON_S = 60.0
"""For what has to happen soon, however slow the machine is."""


class Yard:
    """A server whose model leaves processes behind; `left` has those of the last place."""

    def __init__(self, serve, folder):
        self.folder = folder / "left"
        self.folder.mkdir()
        config = folder / "yard.toml"
        config.write_text(f'[models.leaver.env]\nLEFT_FOLDER = "{self.folder}"\n')
        flags = ("--model-name", "leaver,bare", "--config-file", str(config), "--no-warm-start")
        self.server = serve(*flags)
        self.asking: list[threading.Thread] = []

    def ask(self, method, path, **more):
        """A request that nobody waits for."""

        def request():
            with suppress(requests.RequestException):
                requests.request(method, self.server.url + path, timeout=120, **more)

        self.asking.append(threading.Thread(target=request, daemon=True))
        self.asking[-1].start()

    def predict(self, hold_s=600.0):
        self.ask("POST", "/v2/models/leaver/predict/", json={"hold_s": hold_s})
        return self.left()

    def export(self):
        version = self.server.wait_run(self.server.train("leaver"))["weights"]
        path = f"/v2/models/leaver/weights/{version}/exports/"
        self.ask("POST", path, json={"format": "slow"})
        return self.left()

    def read(self):
        packed = self.folder / "pets.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("labels.csv", "one,cat\n")
        headers = {"Content-Type": "application/zip"}
        path = "/v2/datasets/?name=pets&model=leaver"
        self.ask("POST", path, data=packed.read_bytes(), headers=headers)
        return self.left()

    def left(self):
        until(lambda: (self.folder / "ready").exists())
        pids = [int(path.name) for path in self.folder.iterdir() if path.name.isdigit()]
        found = [Identity.of(pid) for pid in pids]
        assert len(found) == 5 and all(one.alive() for one in found)
        for path in self.folder.iterdir():
            path.unlink()
        return found

    def pids(self, word):
        return [Identity.of(pid) for pid in self.server.children(word)]


@pytest.fixture(scope="module")
def shared(serve_module, tmp_path_factory):
    return Yard(serve_module, tmp_path_factory.mktemp("leaver"))


@pytest.fixture
def yard(shared):
    """With a server that is up and ready, whatever the test before has done to it."""
    if shared.server.process.poll() is not None:
        shared.server.start()
    for model in ("leaver", "bare"):
        assert shared.server.wait_ready(model)["state"] == "ready"
    return shared


def until(condition, within_s=SOON_S):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def until_gone(processes):
    until(lambda: not any(one.alive() for one in processes))


def test_a_killed_server_takes_along_all_that_its_children_have_started(yard):
    predicted, exported, read = yard.predict(), yard.export(), yard.read()
    assert yard.server.get("/tensorboard/").status_code == 200
    children = [
        *yard.pids("serving.worker"),
        *yard.pids("task_process"),
        *yard.pids("tensorboard"),
        *yard.pids("sweep.py"),
        *yard.pids("training.forkserver"),
    ]
    assert len(children) >= 7  # two workers or more, an export, a reader, and three helpers
    yard.server.kill()
    until_gone([*predicted, *exported, *read, *children])


def test_a_killed_server_takes_its_storage_process_along(start_server, tmp_path):
    server = start_server("--model-name", "bare", "--storage", str(tmp_path / "store"))
    pids = []
    until(lambda: pids.extend(server.children("modelyard.storage.process")) or pids)
    process = Identity.of(pids[0])
    server.kill()
    until_gone([process])


def test_a_killed_worker_takes_along_what_it_has_started_and_no_others(yard):
    others = yard.predict(hold_s=0.0)
    bare = yard.server.get("/v2/models/bare/").json()["workers"][0]["pid"]
    worker = yard.server.get("/v2/models/leaver/").json()["workers"][0]["pid"]
    os.kill(worker, signal.SIGKILL)
    until_gone(others)
    assert yard.server.get("/v2/models/bare/").json()["workers"][0]["pid"] == bare
    log = yard.server.home / "logs" / "leftovers.log"
    told = [f"ended {one.pid}, left of" for one in others]  # one died with the worker's group
    until(lambda: any(line in log.read_text() for line in told))  # noted after the deed


def test_a_stopped_server_leaves_nothing_that_its_children_have_started(yard):
    left = yard.predict(hold_s=0.0)
    assert yard.server.stop() == 0
    assert [one for one in left if one.alive()] == []


def test_what_a_killed_server_and_its_sweep_have_left_is_ended_by_the_next_start(yard):
    left = yard.predict()
    (sweeping,) = yard.pids("sweep.py")
    sweeping.signal(signal.SIGKILL)
    yard.server.kill()
    until(lambda: not sweeping.alive())
    assert sum(one.alive() for one in left) >= 3, "the test needs some that nobody ends"
    yard.server.start()
    until_gone(left)


def test_a_sweep_that_was_killed_is_started_again(yard):
    (sweeping,) = yard.pids("sweep.py")
    sweeping.signal(signal.SIGKILL)
    left = yard.predict(hold_s=0.0)
    os.kill(yard.server.get("/v2/models/leaver/").json()["workers"][0]["pid"], signal.SIGKILL)
    until_gone(left)
    assert yard.pids("sweep.py") not in ([], [sweeping])
