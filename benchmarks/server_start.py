"""How long after its start a server is ready, on a new home and on one that a kill -9 left."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yard import PLUGINS, quartiles

ROUNDS = 7


def measure() -> dict[str, str]:
    """Seconds from exec to the first 200 of /readyz, and that over an empty aiohttp server's.

    CPU is what the main thread took by then: on a busy machine it stays, where the time does not.
    """
    ours, bare, again = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        used = Path(folder) / "used"
        _start(used, kill=True)
        for turn in range(ROUNDS):
            ours.append(_start(Path(folder) / f"new-{turn}"))
            bare.append(_bare())
            again.append(_start(used, kill=True))
            shutil.rmtree(Path(folder) / f"new-{turn}")
    pairs = list(zip(ours, bare, strict=True))
    ratios = [one / other for (one, _), (other, _) in pairs]
    return {
        "ready after, s, with a new home": quartiles([one for one, _ in ours]),
        "with a new home, CPU": quartiles([cpu for _, cpu in ours]),
        "ready after, s, with the home of a server that was killed": quartiles(
            [one for one, _ in again]
        ),
        "with that home, CPU": quartiles([cpu for _, cpu in again]),
        "a bare aiohttp server, s": f"{statistics.median([one for one, _ in bare]):.3g}",
        "its CPU": quartiles([cpu for _, cpu in bare]),
        "ours, new home / bare": quartiles(ratios),
        "ours, new home / bare, CPU": quartiles([one / other for (_, one), (_, other) in pairs]),
    }


def _start(home: Path, kill: bool = False) -> tuple[float, float]:
    command = [sys.executable, "-m", "modelyard", "serve", "--home", str(home), "--port", "0"]
    return _ready(command, "/readyz", kill)


def _bare() -> tuple[float, float]:
    code = (
        "import socket; from aiohttp import web; s = socket.create_server(('127.0.0.1', 0));"
        "print('http://x:%d' % s.getsockname()[1], flush=True); app = web.Application();"
        "app.router.add_get('/', lambda r: web.Response()); web.run_app(app, sock=s, print=None)"
    )
    return _ready([sys.executable, "-c", code], "/", True)


def _ready(command: list[str], path: str, kill: bool) -> tuple[float, float]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")}
    environ["PYTHONPATH"] = os.pathsep.join([str(PLUGINS), environ.get("PYTHONPATH", "")])
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        port = int(re.search(r":(\d+)", process.stdout.readline())[1])  # type: ignore[index]
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    seconds = time.perf_counter() - began
                    return seconds, _cpu_s(process.pid)
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        process.wait(30)


def _cpu_s(pid: int) -> float:
    """Of its main thread, which does nearly all of a start."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
