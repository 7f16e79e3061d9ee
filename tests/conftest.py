"""What all rooms' tests share: a real server process with the plugins of tests/plugins."""

import asyncio
import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from modelyard.records.home import Home
from modelyard.records.store import RecordStore
from modelyard.training.identity import Identity
from modelyard.training.paths import read_json

# A shell that starts us in the background has SIGINT ignored, in all that we start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Not tests/plugins: what stands there is installed for whoever has it on the path.
sys.path.append(str(Path(__file__).parent / "servers"))
pytest_plugins = ["yard_s3.fixtures"]

PLUGINS = Path(__file__).parent / "plugins"
TEARDOWN_S = 300
OLD_PLUGINS = Path(__file__).parent / "old_plugins"
"""Modules as people wrote them for DEEPaaS; found by servers that one of them is named to."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """What cannot be put away after a test fails, and the others go on."""

    def give_up(*_):
        raise TimeoutError(f"still being put away after {TEARDOWN_S} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TEARDOWN_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)


class Server:
    """A running `modelyard serve`, with what it printed."""

    def __init__(self, home: Path, *flags: str, env: dict[str, str] | None = None) -> None:
        self.home = home
        self.flags = flags
        self.env = env or {}
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, wait: bool = True) -> "Server":
        environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
        environ["PYTHONPATH"] = os.pathsep.join(
            [
                str(PLUGINS),
                *([str(OLD_PLUGINS)] if "old-" in " ".join(self.flags) else []),
                environ.get("PYTHONPATH", ""),
            ]
        ).rstrip(os.pathsep)
        environ["PYTHONUNBUFFERED"] = "1"
        environ["MODELYARD_TRAINING_NICE"] = "0"  # beside other tests a training would get nothing
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "modelyard", "serve"),
                *("--home", str(self.home), "--port", "0", *self.flags),
            ],
            env={**environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()
        if wait:
            self._wait_for_port(lines)
        return self

    @property
    def lines(self) -> list[str]:
        """What it printed: all of it when it has ended, although a thread reads it."""
        if (
            self._reader is not None
            and self.process is not None
            and self.process.poll() is not None
        ):
            self._reader.join(10)
        return self._lines

    def _read(self, lines: "queue.Queue[str]") -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            lines.put(line)
        lines.put("")

    def _wait_for_port(self, lines: "queue.Queue[str]") -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            line = lines.get(timeout=60)
            match = re.search(r"listening on (https?://\S+)", line)
            if match:
                self.url = match.group(1).rstrip("/")
                return
            if not line:
                break
        raise AssertionError("the server did not start:\n" + "".join(self.lines))

    # -- ending ---------------------------------------------------------------

    def stop(self, timeout: float = 60) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL of the front alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    # -- asking ---------------------------------------------------------------

    def proc(self) -> Path:
        """What the kernel tells of the server's process (proc(5))."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}")

    def children(self, word: str) -> list[int]:
        """Processes that the server has started, any of its threads, and whose command has this
        word."""
        assert self.process is not None
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for pid in (task / "children").read_text().split():
                    with contextlib.suppress(OSError):
                        if word in Path(f"/proc/{pid}/cmdline").read_text():
                            found.append(int(pid))
        return found

    def begun(self, path: str) -> socket.socket:
        """The connection of an answer that has begun. Where a kernel lends 32 MB, the whole answer
        might be on its way at once: here it lends little."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", urlsplit(self.url).port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        return connection

    def get(self, path: str, **more: object) -> requests.Response:
        return requests.get(self.url + path, timeout=90, **more)  # type: ignore[arg-type]

    def post(self, path: str, **more: object) -> requests.Response:
        return requests.post(self.url + path, timeout=90, **more)  # type: ignore[arg-type]

    def delete(self, path: str, **more: object) -> requests.Response:
        return requests.delete(self.url + path, timeout=90, **more)  # type: ignore[arg-type]

    def predict(self, model: str, **more: object) -> requests.Response:
        return self.post(f"/v2/models/{model}/predict/", **more)

    def train(self, model: str, **arguments: object) -> dict:
        """Starts a training and returns its record."""
        answer = self.post(f"/v2/models/{model}/train/", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, record: dict) -> dict:
        return self.get(f"/v2/models/{record['model']}/train/{record['uuid']}").json()

    def wait_run(self, record: dict, until: str = "finished", timeout: float = 120) -> dict:
        """Waits for a phase (or a later one) of a run; returns the record then."""
        order = ["queued", "starting", "training", "evaluating", "publishing", "finished"]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            now = self.run(record)
            phase = now["phase"]
            if phase in order and order.index(phase) >= order.index(until):
                return now
            time.sleep(0.05)
        raise AssertionError(f"not {until} after {timeout} s: {now}\n{self.log(record)}")

    def log(self, record: dict) -> str:
        return self.get(f"/v2/models/{record['model']}/train/{record['uuid']}/log").text

    def wait_ready(self, model: str, timeout: float = 120) -> dict:
        """Waits until the model is loaded, or failed to load; returns its resource."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            now = self.get(f"/v2/models/{model}/").json()
            if now["state"] in ("ready", "failed"):
                return now
            time.sleep(0.05)
        raise AssertionError(f"{model} is not ready after {timeout} s: {now}")


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory) -> Path:
    """A home with its records migrated, to be copied: a migration takes half a second of CPU."""
    root = tmp_path_factory.mktemp("empty") / "home"
    home = Home(root)
    home.open()
    store = RecordStore(home.database)
    asyncio.run(store.open())
    asyncio.run(store.close())
    home.close()
    return root


@pytest.fixture
def start_server(tmp_path, empty_home):
    """Starts servers; every one is ended, with its trainings, when the test ends.

    The first gets a copy of an empty home; a `home` that the test names is used as it is (and
    made by the server where there is none).
    """
    servers: list[Server] = []

    def start(*flags: str, home: Path | None = None, wait: bool = True, env=None) -> Server:
        if home is None and not (tmp_path / "home").exists():
            shutil.copytree(empty_home, tmp_path / "home")
        server = Server(home or tmp_path / "home", *flags, env=env)
        servers.append(server)
        return server.start(wait)

    yield start
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
    end_runs(tmp_path)


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory, empty_home):
    """Like `start_server`, one server for all tests of a module; each has a home of its own."""
    servers: list[Server] = []
    home = tmp_path_factory.mktemp("yard")

    def start(*flags: str, env=None) -> Server:
        shutil.copytree(empty_home, home / f"home{len(servers)}")
        server = Server(home / f"home{len(servers)}", *flags, env=env)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
    end_runs(home)


def end_runs(folder: Path) -> None:
    """Kills what the runs of the homes below `folder` still have; by their recorded identity."""
    for path in [*folder.rglob("supervisor.json"), *folder.rglob("process.json")]:
        data = read_json(path)
        if data is not None:
            Identity.from_data(data).signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory):
    """Makes virtual environments for models: `make(name, python, *requirements)`.

    Gives the path of the new interpreter. The libraries are put there by our pip: one of its own
    would take seconds to install.
    """

    def make(name: str, python: str, *requirements: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
        own = folder / "bin" / "python"
        ask = "import sys, sysconfig; print(sysconfig.get_path('purelib'), *sys.version_info[:2])"
        told = subprocess.run([own, "-c", ask], check=True, capture_output=True, text=True).stdout
        site, major, minor = told.rsplit(maxsplit=2)
        if requirements:
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
            command += ["--quiet", "--no-compile", f"--target={site}"]
            if (int(major), int(minor)) != sys.version_info[:2]:
                command += ["--only-binary=:all:", f"--python-version={major}.{minor}"]
            subprocess.run([*command, *requirements], check=True, timeout=300)
        return own

    return make


@pytest.fixture(scope="session")
def oldest_python() -> str:
    """Python 3.8 where it is installed, else the one that runs the tests."""
    try:  # run, not only looked up: version managers leave names on PATH that answer otherwise
        asked = subprocess.run(["python3.8", "-c", "import venv"], capture_output=True)
    except FileNotFoundError:
        return sys.executable
    return "python3.8" if asked.returncode == 0 else sys.executable
