"""The worker process by itself: started by hand, it answers messages and ends with its socket."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.serving import messages
from modelyard.serving.frames import FrameReader

PLUGINS = Path(__file__).parents[1] / "plugins"


class ByHand:
    """A worker and our ends of its two sockets."""

    def __init__(self, **env):
        self.socket, theirs = socket.socketpair()
        self.side, their_side = socket.socketpair()
        self.reader = FrameReader()
        self.arrived = []
        with theirs, their_side:
            fds = [theirs.fileno(), their_side.fileno()]
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "modelyard.serving.worker"),
                    *("--fd", str(fds[0]), "--side-fd", str(fds[1])),
                    *("--parent", str(os.getpid())),
                ],
                pass_fds=fds,
                env={**os.environ, "PYTHONPATH": str(PLUGINS), **env},
                stdout=subprocess.DEVNULL,
            )

    def send(self, message):
        aside = isinstance(message, (messages.Describe, messages.Validate))
        (self.side if aside else self.socket).sendall(messages.pack(message))

    def receive(self):
        while not self.arrived:
            readable, _, _ = select.select([self.socket, self.side], [], [], 30)
            data = readable[0].recv(1 << 20)
            if not data:
                raise EOFError
            self.arrived += [messages.unpack(*frame) for frame in self.reader.feed(data)]
        return self.arrived.pop(0)

    def ask(self, message):
        self.send(message)
        return self.receive()


@pytest.fixture
def worker():
    worker = ByHand()
    yield worker
    worker.socket.close()
    worker.side.close()
    worker.process.kill()
    worker.process.wait()


def start(model, cls):
    return messages.Start(1, source={"name": model, "value": f"yard_fixtures.{model}:{cls}"})


def predict(id, body, more=False):
    return messages.Predict(id, {"query": []}, "/nowhere", more, body)


def test_it_imports_describes_loads_and_predicts(worker):
    described = worker.ask(start("hostile", "Hostile"))
    assert isinstance(described, messages.Described)
    assert described.description["capabilities"][:2] == ["predict", "train"]
    assert isinstance(worker.ask(messages.Load(2)), messages.Done)
    answer = worker.ask(predict(3, b"{}"))
    assert (answer.id, answer.content_type) == (3, "application/json")
    assert b'"pid"' in answer.body


def test_a_worker_of_another_release_refuses(worker):
    answer = worker.ask(messages.Start(1, messages.FORMAT + 1, {}))
    assert isinstance(answer, messages.Failed)
    assert "release" in answer.message


def test_questions_are_answered_while_it_predicts(worker):
    worker.ask(start("hostile", "Hostile"))
    worker.send(predict(2, b'{"do": "sleep", "seconds": 2}'))
    for id in range(3, 6):
        answer = worker.ask(messages.Validate(id, "train", {"query": []}, b"{}"))
        assert (answer.id, answer.record) == (id, {"do": "answer"})
    assert worker.receive().id == 2


def test_a_plugin_that_closes_descriptors_does_not_cut_the_connection(worker):
    worker.ask(start("hostile", "Hostile"))
    assert worker.ask(predict(2, b'{"do": "close_files"}')).body
    assert worker.ask(predict(3, b"{}")).body


def test_it_ends_when_its_sockets_do_whatever_it_is_doing(worker):
    worker.ask(start("hostile", "Hostile"))
    worker.send(predict(2, b'{"do": "hang"}'))
    time.sleep(0.2)
    worker.socket.close()
    worker.side.close()
    worker.process.wait(3)


def test_it_ends_when_the_front_is_gone_while_it_imports(worker):
    worker.send(start("hangs_at_import", "Model"))
    time.sleep(1)
    worker.socket.close()
    worker.side.close()
    worker.process.wait(3)


def test_it_dies_with_its_parent_even_when_it_cannot_read(tmp_path):
    """The parent is killed while the worker is stopped in a call: the kernel ends it."""
    code = (
        "import socket, subprocess, sys, os, time\n"
        "(a, b), (c, d) = socket.socketpair(), socket.socketpair()\n"
        "p = subprocess.Popen([sys.executable, '-m', 'modelyard.serving.worker', '--fd',"
        " str(b.fileno()), '--side-fd', str(d.fileno()), '--parent', str(os.getpid())],"
        " pass_fds=[b.fileno(), d.fileno()])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    deadline = time.monotonic() + 20
    while not _catches(pid, signal.SIGSEGV):  # `faulthandler` is on: it follows its parent, too
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 2
    while Path(f"/proc/{pid}").exists() and "Z" not in _state(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _catches(pid, number):
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught, 16) >> (number - 1) & 1)


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
