"""Exports whose process, or whose server, is killed: whole or not there, and the next one works."""

import contextlib
import hashlib
import io
import os
import random
import signal
import threading
import time
import zipfile
from pathlib import Path

import pytest
import requests

SIZE = 300_000  # bytes of a version
TAKES_S = 0.7
"""About what an export takes here: its process 0.3 s, its parts the rest."""
CONTENT = random.Random(7).randbytes(SIZE)


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "writer")
    server.wait_ready("writer")
    server.version = server.wait_run(server.train("writer", size=SIZE))["weights"]
    return server


def path(server, part=""):
    return f"/v2/models/writer/weights/{server.version}/exports/{part}"


def folder(server) -> Path:
    return server.home / "weights" / server.version / "exports"


class Asking(threading.Thread):
    """A client that asks for an export; `answer` is None where the connection broke."""

    def __init__(self, server, wanted):
        super().__init__()
        self._server, self._wanted = server, wanted
        self.answer = None
        self.start()

    def run(self):
        with contextlib.suppress(requests.RequestException):
            self.answer = self._server.post(path(self._server), json={"format": self._wanted})

    def process(self) -> int:
        """The process that makes it; 0 if it was made before anybody saw one."""
        while self.is_alive():
            if found := self._server.children("task_process"):
                return found[0]
        return 0

    def ended(self):
        self.join(60)
        assert not self.is_alive()
        return self.answer


def ended(pid: int, within_s: float = 5.0) -> bool:
    """A process of the lowest priority takes a while; who has inherited it may not look at once."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


class Watching(threading.Thread):
    """Asks for the exports without a pause: what it gets is whole, each time."""

    def __init__(self, server):
        super().__init__()
        self._server, self._over = server, threading.Event()
        self.seen = {200: 0, 404: 0}
        self.wrong: list[str] = []
        self.start()

    def run(self):
        while not self._over.wait(0.002):
            for wanted in ("parts", "one"):
                # The server may be killed, and start at another port.
                with contextlib.suppress(requests.RequestException):
                    answer = requests.get(self._server.url + path(self._server, wanted), timeout=10)
                    self.seen[answer.status_code] = self.seen.get(answer.status_code, 0) + 1
                    if answer.status_code == 200 and content(answer) != CONTENT:
                        self.wrong.append(f"{wanted}: {len(answer.content)} bytes")

    def end(self):
        self._over.set()
        self.join(30)
        assert self.wrong == []
        assert set(self.seen) == {200, 404}, self.seen


def content(answer) -> bytes:
    """What was exported, from the answer that handed it out."""
    if hashlib.sha256(answer.content).hexdigest() != answer.headers["X-Content-SHA256"]:
        return b"not what its digest says"
    if answer.headers["Content-Type"] != "application/zip":
        return answer.content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return b"".join(archive.read(name) for name in sorted(archive.namelist()))


def check_what_is_told(server, wanted, made):
    """Listed is what can be had, and nothing else lies beside it; the version is as it was."""
    listed = server.get(path(server)).json()["exports"]
    assert [one["format"] for one in listed] == ([wanted] if made else [])
    assert {one.name for one in folder(server).glob("*")} == ({wanted} if made else set())
    answer = server.get(path(server, wanted))
    assert answer.status_code == (200 if made else 404)
    assert not made or content(answer) == CONTENT
    version = server.get(f"/v2/models/writer/weights/{server.version}").json()
    assert (version["state"], version["local"]) == ("ready", True)


def make_whole_and_take_away(server, wanted):
    answer = server.post(path(server), json={"format": wanted})
    assert answer.status_code in (200, 201), answer.text
    check_what_is_told(server, wanted, made=True)
    (folder(server) / wanted / "export.json").unlink()  # as if it was lost: it is made again
    for one in (folder(server) / wanted).iterdir():
        one.unlink()
    (folder(server) / wanted).rmdir()


def kill_processes(server, times, seed) -> int:
    """Kills the process of every export at a random moment; how many died before their end."""
    chance, watching, killed = random.Random(seed), Watching(server), 0
    try:
        for _ in range(times):
            wanted = chance.choice(["parts", "one"])
            asking = Asking(server, wanted)
            pid = asking.process()
            time.sleep(chance.uniform(0, TAKES_S))
            if asking.is_alive() and pid in server.children("task_process"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            answer = asking.ended()
            assert answer.status_code in (201, 500), answer.text
            if answer.status_code == 500:
                killed += 1
                assert "SIGKILL" in answer.json()["message"]
            check_what_is_told(server, wanted, made=answer.status_code == 201)
            make_whole_and_take_away(server, wanted)
            assert server.predict("writer").json()["predictions"] == {"size": SIZE}
    finally:
        watching.end()
    return killed


def test_an_export_whose_process_is_killed_is_told_and_the_next_one_is_whole(server):
    assert kill_processes(server, 2, seed=1) > 0


@pytest.mark.slow
def test_exports_whose_processes_are_killed_at_many_moments_are_whole_or_not_there(server):
    assert kill_processes(server, 40, seed=2) >= 25


def kill_server(server, times, seed) -> int:
    """Kills the server at a random moment of an export; how many had not been made by then."""
    chance, watching, cut = random.Random(seed), Watching(server), 0
    try:
        for _ in range(times):
            wanted = chance.choice(["parts", "one"])
            asking = Asking(server, wanted)
            pid = asking.process()
            time.sleep(chance.uniform(0, TAKES_S))
            server.kill()
            answer = asking.ended()
            assert answer is None or answer.status_code == 201
            whole = (folder(server) / wanted / "export.json").exists()
            assert whole or answer is None, "what was told to be made is there"
            cut += not whole
            server.start()
            assert pid == 0 or ended(pid), "with its server"
            assert list((server.home / "weights").rglob(".new-*")) == []
            assert list((server.home / "tmp" / "calls").iterdir()) == []
            check_what_is_told(server, wanted, made=whole)
            server.wait_ready("writer")
            make_whole_and_take_away(server, wanted)
    finally:
        watching.end()
    return cut


@pytest.mark.slow
def test_a_server_killed_during_an_export_leaves_nothing_half_and_nothing_temporary(server):
    kill_server(server, 1, seed=3)


@pytest.mark.slow
def test_a_server_killed_at_many_moments_of_exports_leaves_nothing_half(server):
    assert kill_server(server, 30, seed=4) >= 15
