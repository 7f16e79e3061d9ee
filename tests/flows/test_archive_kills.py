"""Archives and links whose process, server or client is killed: cut short, never taken as whole."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests

SIZE = 5 << 20  # bytes of the version, which do not shrink
KINDS = ("tar.gz", "tar.xz", "zip")
TAKES_S = 0.7
"""About what an archive takes here: its process 0.2 s, the bytes the rest."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module("--model-name", "writer")
    server.wait_ready("writer")
    server.version = server.wait_run(server.train("writer", size=SIZE))["weights"]
    server.whole = Whole(server)
    return server


class Whole(dict):
    """The archives as they are when nothing is killed, by their kind."""

    def __init__(self, server):
        self._server = server

    def __missing__(self, kind):
        answer = requests.get(address(self._server, kind), timeout=60)
        assert answer.status_code == 200 and len(answer.content) > SIZE
        self[kind] = answer.content
        return answer.content


def address(server, kind):
    return f"{server.url}/v2/models/writer/weights/{server.version}/archive?format={kind}"


def packing(server) -> list[int]:
    """The processes of this server that pack."""
    return server.children("archives.export")


class Getting(threading.Thread):
    """A client that takes an archive at some pace; `got` is status and bytes, or why it broke."""

    def __init__(self, server, kind, pace_s):
        super().__init__()
        self._address, self._pace_s = address(server, kind), pace_s
        self.got = None
        self.start()

    def run(self):
        try:
            with requests.get(self._address, stream=True, timeout=60) as answer:
                pieces = []
                for piece in answer.iter_content(1 << 20):
                    pieces.append(piece)
                    time.sleep(self._pace_s)
                self.got = answer.status_code, b"".join(pieces)
        except requests.RequestException as error:
            self.got = type(error).__name__, b""

    def ended(self):
        self.join(90)
        assert not self.is_alive()
        return self.got


def until_packing(server, getting) -> list[int]:
    while getting.is_alive():
        if found := packing(server):
            return found
    return []


def check_whole(server, chance):
    """The next archive is what it was before all kills, and no process is left."""
    kind = chance.choice(KINDS)
    answer = requests.get(address(server, kind), timeout=60)
    assert answer.status_code == 200 and answer.content == server.whole[kind]
    until = time.monotonic() + 10
    while packing(server):
        assert time.monotonic() < until, "a process was left"
        time.sleep(0.02)


def kill_packing(server, times, seed) -> int:
    """Kills the process of every archive at a random moment; how many broke off."""
    chance, broken = random.Random(seed), 0
    for _ in range(times):
        kind = chance.choice(KINDS)
        getting = Getting(server, kind, chance.choice([0, 0.02]))
        found = until_packing(server, getting)
        time.sleep(chance.uniform(0, TAKES_S))
        for pid in set(found) & set(packing(server)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        status, content = getting.ended()
        if status == 200:
            assert content == server.whole[kind]
        elif status == 503:  # before the first byte
            assert b"cannot be exported" in content
        else:
            assert status == "ChunkedEncodingError", status
        broken += status != 200
        check_whole(server, chance)
    return broken


@pytest.mark.slow
def test_an_archive_whose_process_is_killed_breaks_off_and_the_next_one_is_whole(server):
    kill_packing(server, 2, seed=1)


@pytest.mark.slow
def test_archives_whose_processes_are_killed_at_many_moments_are_never_taken_as_whole(server):
    assert kill_packing(server, 60, seed=2) >= 25, "more than may be packed at once"


def exporting(server, target, **more) -> subprocess.Popen:
    """`modelyard export` of this version into a file."""
    command = [sys.executable, "-m", "modelyard", "weights", "export", "writer", server.version]
    return subprocess.Popen(
        [*command, "-o", str(target), "--url", server.url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more,
    )  # fmt: skip


def kill_server(server, tmp_path, times, seed) -> int:
    """Kills the server while a file is being saved from it; how many files did not come."""
    chance, missing = random.Random(seed), 0
    for number in range(times):
        kind = chance.choice(KINDS)
        whole = server.whole[kind]  # asked for now, if it was not: the server is about to die
        target = tmp_path / f"version{number}.{kind}"
        client = exporting(server, target)
        while client.poll() is None and not packing(server):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, TAKES_S))
        server.kill()
        said, _ = client.communicate(timeout=90)
        if client.returncode == 0:
            assert target.read_bytes() == whole
        else:
            assert "Traceback" not in said
            assert not target.exists()
            missing += 1
        left = {path.name for path in tmp_path.iterdir()}
        assert left <= {f"version{n}.{k}" for n in range(times) for k in KINDS}, left
        server.start()
        assert list((server.home / "tmp" / "calls").iterdir()) == []
        check_whole(server, chance)
    return missing


@pytest.mark.slow
def test_a_server_killed_at_many_moments_of_archives_leaves_no_half_file(server, tmp_path):
    assert kill_server(server, tmp_path, 30, seed=4) >= 10


@pytest.mark.slow
def test_a_client_killed_at_many_moments_has_the_whole_file_or_none(server, tmp_path):
    chance, killed = random.Random(5), 0
    target = tmp_path / "version.zip"
    for _ in range(25):
        client = exporting(server, target)
        while client.poll() is None and not packing(server):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, TAKES_S))
        client.kill()
        client.communicate(timeout=30)
        killed += client.returncode != 0
        if target.exists():
            assert target.read_bytes() == server.whole["zip"]
            target.unlink()
        check_whole(server, chance)
    again = exporting(server, target)
    again.communicate(timeout=60)
    assert again.returncode == 0 and target.read_bytes() == server.whole["zip"]
    assert killed >= 10


def kill_linking(start_server, rclone, times, seed) -> int:
    """Kills the server while it packs an archive for a link of the store; how many did not come."""
    chance, missing, way = random.Random(seed), 0, rclone.fresh()
    server = start_server("--model-name", "writer", "--storage", way.url, env=way.env)
    server.wait_ready("writer")
    server.version = server.wait_run(server.train("writer", size=SIZE))["weights"]
    whole = requests.get(address(server, "zip"), timeout=60).content
    for _ in range(times):
        links = []
        asking = threading.Thread(target=_ask_for_link, args=(server, links))
        asking.start()
        calls = server.home / "tmp" / "calls"
        while asking.is_alive() and not list(calls.iterdir()):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, TAKES_S))
        server.kill()
        asking.join(60)
        missing += not links
        server.start()
        assert list(calls.iterdir()) == []
        _ask_for_link(server, links)
        for link in links:  # what was told before the kill is good, too
            assert requests.get(link, timeout=60).content == whole
        version = server.get(f"/v2/models/writer/weights/{server.version}").json()
        assert version["local"] and version["state"] in ("ready", "publishing")
    return missing


def _ask_for_link(server, links):
    with contextlib.suppress(requests.RequestException):
        body = {"format": "zip", "expires_s": 600}
        answer = server.post(f"/v2/models/writer/weights/{server.version}/link", json=body)
        assert answer.status_code == 201 and answer.json()["by"] == "store", answer.text
        links.append(answer.json()["url"])


@pytest.mark.slow
def test_a_server_killed_at_many_moments_of_links_leaves_nothing_and_links_are_whole(
    start_server, rclone
):
    assert kill_linking(start_server, rclone, 15, seed=6) >= 3
