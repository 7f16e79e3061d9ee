"""`make demo` without make: trains, predicts, ends, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelyard.training.identity import Identity, boot_id, descendants

pytest.importorskip("torch")
pytest.importorskip("sklearn")


class Demo:
    """One demo as a process; remembers every descendant that it ever had."""

    def __init__(self, home: Path, *flags: str, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modelyard", "demo", "--home", str(home), "--port",
             str(self.port), *flags],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.family: dict[Identity, str] = {}
        threading.Thread(target=self._remember, daemon=True).start()

    def _remember(self) -> None:
        while self.process.returncode is None:
            for stat in descendants(self.process.pid):
                identity = Identity(stat.pid, stat.start_time, boot_id())
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{stat.pid}/cmdline").read_bytes().split(b"\0")
                    self.family[identity] = b" ".join(words).decode()
            time.sleep(0.1)

    def read_until(self, text: str) -> str:
        read = []
        for line in self.process.stdout:
            read.append(line)
            if text in line:
                return "".join(read)
        raise AssertionError(f"no {text!r} in:\n" + "".join(read))

    def left(self) -> list[str]:
        """Command lines of what is alive still, after a moment to end."""
        deadline = time.monotonic() + 10
        while (alive := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [self.family[identity] for identity in alive]

    def kill(self) -> None:
        for identity in self._alive():
            identity.signal(signal.SIGKILL)

    def _alive(self) -> list[Identity]:
        return [identity for identity in list(self.family) if identity.alive()]

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def start_demo(tmp_path):
    demos = []

    def start(*flags: str, **env: str) -> Demo:
        demos.append(Demo(tmp_path / "home", *flags, **env))
        return demos[-1]

    yield start
    for demo in demos:
        demo.process.kill()
        demo.process.wait(10)
        demo.kill()


def test_once_trains_predicts_and_leaves_nothing(start_demo):
    demo = start_demo("--epochs", "5", DEMO_ONCE="1")
    output, _ = demo.process.communicate(timeout=170)
    assert demo.process.returncode == 0, output
    assert "Accuracy on the test split" in output
    assert "loss" in output
    assert "of 10 right" in output
    assert "Swagger UI" not in output and "curl" not in output, "that server is gone"
    assert "modelyard serve --model-name image-classifier" in output
    assert f"--port {demo.port}\n" in output
    assert demo.left() == []
    assert not demo.listens()


@pytest.mark.slow
def test_a_taken_port_is_no_failure_but_a_failure_is_told_and_leaves_nothing(start_demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = start_demo("--epochs", "0", "--port", str(port), DEMO_ONCE="1")
        output, _ = demo.process.communicate(timeout=90)
    assert demo.process.returncode == 1
    assert f"Port {port} is taken, so another one is used" in output
    assert "The demo failed: epochs: " in output
    assert "Traceback" not in output
    assert demo.left() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_it_is_ended_in_a_training_nothing_is_left(start_demo, number):
    demo = start_demo("--epochs", "1000")
    demo.read_until("training")
    assert demo.listens()
    time.sleep(0.3)
    family = "\n".join(demo.family.values())
    for part in ("modelyard serve", "serving.worker", "training.forkserver"):
        assert part in family
    demo.process.send_signal(number)
    demo.process.communicate(timeout=30)
    assert demo.process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert demo.left() == []
    assert not demo.listens()
