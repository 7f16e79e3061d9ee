"""A server for the benchmarks, on loopback, with a home that is gone afterwards."""

import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLUGINS = Path(__file__).parent / "plugins"


class Yard:
    """A running server and one connection to it."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, home: Path) -> None:
        self.process = process
        self.port = port
        self.home = home
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request on the kept connection; returns the decoded answer."""
        data = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text)

    def wait_ready(self, model: str) -> None:
        while (state := self.ask("GET", f"/v2/models/{model}/"))["state"] != "ready":
            if state["state"] == "failed":
                raise RuntimeError(state["error"])
            time.sleep(0.05)

    def wait_run(self, record: dict[str, Any], phase: str = "finished") -> dict[str, Any]:
        while (now := self.ask("GET", record["links"]["self"]))["phase"] not in (phase, "finished"):
            time.sleep(0.02)
        if now["status"] == "error":
            raise RuntimeError(now["message"])
        return now

    def family(self) -> list[int]:
        """The front, all that it started, and the processes of its runs."""
        named = (self.home / "runs").glob("*/supervisor.json")
        roots = [self.process.pid, *(int(json.loads(p.read_text())["pid"]) for p in named)]
        return [pid for root in roots for pid in family(root)]


@contextlib.contextmanager
def yard(*flags: str, path: str = str(PLUGINS)) -> Iterator[Yard]:
    """Starts a server with these flags; ends it and all its runs."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    environ["PYTHONPATH"] = os.pathsep.join([path, environ.get("PYTHONPATH", "")])
    environ["PYTHONUNBUFFERED"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "modelyard", "serve", "--home", str(home), "--port", "0"]
        with (Path(folder) / "server.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--on-stop", "cancel", "--log-level", "warning", *flags],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.search(r"http://[^:]+:(\d+)", line)
            if match is None:
                raise RuntimeError((Path(folder) / "server.log").read_text())
            try:
                yield Yard(process, int(match.group(1)), home)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def quartiles(values: list[float]) -> str:
    """`median (lower quartile - upper quartile)`, to three digits."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3g} ({low:.3g} - {high:.3g})"


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (1e6 bytes): shared pages are divided by their users."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    assert match is not None
    return int(match.group(1)) * 1024 / 1e6


def cpu_us(pid: int) -> float:
    """CPU time of all threads of a process; nanoseconds in the file (proc(5), schedstat)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1000


def family(pid: int) -> list[int]:
    """A process and its descendants; none if it has ended."""
    found = [pid]
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += family(int(child))
    except OSError:
        return []
    return found
