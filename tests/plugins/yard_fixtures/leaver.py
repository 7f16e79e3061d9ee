"""A model that leaves processes behind wherever its code runs: predicting, exporting, reading."""

import os
import signal
import subprocess
import time
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin import Model

SLEEP = ["/bin/sleep", "600"]


def _deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _daemon():
    _deaf()
    os.setsid()
    if os.fork():
        os._exit(0)
    Path(os.environ["LEFT_FOLDER"], str(os.getpid())).touch()  # what Popen tells is its parent


def leave(hold_s):
    """A child, one in a session of its own, a daemon, one of those that is stopped, and a daemon
    that starts its program without an environment; each has a file in LEFT_FOLDER, named by its
    number. Returns after `hold_s` seconds."""
    folder = Path(os.environ["LEFT_FOLDER"])
    pids = [subprocess.Popen(SLEEP, preexec_fn=_deaf).pid]
    pids += [subprocess.Popen(SLEEP, start_new_session=True).pid for _ in range(2)]
    os.kill(pids[-1], signal.SIGSTOP)
    for pid in pids:
        (folder / str(pid)).touch()
    subprocess.Popen(SLEEP, preexec_fn=_daemon)
    subprocess.Popen(SLEEP, preexec_fn=_daemon, env={})
    time.sleep(0.2)
    (folder / "ready").touch()
    time.sleep(hold_s)


class Leaver(Model):
    weights_optional = True
    predict_arguments = {"hold_s": fields.Float(load_default=0.0)}
    export_formats = ("slow",)

    def predict(self, hold_s):
        leave(hold_s)
        return os.getpid()

    def train(self, run):
        with run.checkpoint(step=1) as checkpoint:
            (checkpoint.weights / "nothing").write_text("nothing")

    def export(self, format, folder):
        leave(600)

    def read_dataset(self, folder):
        leave(600)
