"""A model whose training does as its arguments tell it: sleeps, fails, forks, ignores signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin.contract import Model
from modelyard.models_plugin.values import InvalidData


class Behaving(Model):
    train_arguments = {
        "how": fields.String(load_default="finish"),
        "seconds": fields.Float(load_default=60.0),
        "steps": fields.Integer(load_default=5),
    }

    def train(self, run, how, seconds, steps):
        run.log(f"how={how}")
        print("printed", flush=True)
        return getattr(self, "_" + how)(run, seconds, steps)

    def _finish(self, run, seconds, steps):
        for step in range(1, steps + 1):
            run.report(step, loss=1.0 / step, accuracy=1.0 - 1.0 / step)
            run.progress(step, steps, "stepping")
        with run.checkpoint(steps, metric=0.9, metrics={"accuracy": 0.9}) as checkpoint:
            (checkpoint.weights / "weights.txt").write_text("trained")
            (checkpoint.state / "state.txt").write_text("state")
        return {"final": 0.9}

    def _far_weights(self, run, seconds, steps):
        return str(run.weights("a" * 32))

    def _cooperative(self, run, seconds, steps):
        run.report(1, loss=1.0)
        end = time.monotonic() + seconds
        while not run.should_stop and time.monotonic() < end:
            time.sleep(0.01)
        run.log("noticed" if run.should_stop else "went on")
        return {}

    def _deaf(self, run, seconds, steps):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run.report(1, loss=1.0)
        self._sleep(seconds)

    def _cleaning(self, run, seconds, steps):
        run.report(1, loss=1.0)
        try:
            self._sleep(seconds)
        finally:
            run.log("cleaned up")

    def _family(self, run, seconds, steps):
        """A child, a setsid'ed child of a child, and a daemon, all deaf to SIGTERM."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._fork(seconds)
        self._fork(seconds, os.setsid)
        if os.fork() == 0:
            os.setsid()
            self._fork(seconds)
            os._exit(0)
        os.wait()
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
        run.report(1, loss=1.0)
        (run.folder / "ready").touch()
        self._sleep(seconds)

    def _unmarked(self, run, seconds, steps):
        """A daemon in a session of its own, whose environment is empty; and a stopped child."""
        pid_file = run.folder / "unmarked"
        script = f"trap '' TERM; echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 600"
        subprocess.Popen(["/bin/sh", "-c", f"env -i setsid /bin/sh -c '{_quoted(script)}' &"])
        os.kill(subprocess.Popen(["/bin/sleep", "600"]).pid, signal.SIGSTOP)
        while not pid_file.exists():
            time.sleep(0.01)
        run.report(1, loss=1.0)
        (run.folder / "ready").touch()
        self._sleep(seconds)

    def _leave_children(self, run, seconds, steps):
        self._fork(seconds, os.setsid)
        return self._finish(run, seconds, steps)

    def _linger(self, run, seconds, steps):
        import threading

        threading.Thread(target=self._sleep, args=(seconds,)).start()
        return self._finish(run, seconds, steps)

    def _raise(self, run, seconds, steps):
        raise KeyError("the reason")

    def _break_once(self, run, seconds, steps):
        """Fails at first, after all of its steps, but never asks where to go on."""
        first = not (run.folder / "broken").exists()
        (run.folder / "broken").touch()
        result = self._finish(run, seconds, steps)
        if first:
            raise RuntimeError("it broke")
        return result

    def _bad_data(self, run, seconds, steps):
        raise InvalidData("label 12 is out of range", file="train.txt", line=7)

    def _memory(self, run, seconds, steps):
        raise MemoryError

    def _huge_step(self, run, seconds, steps):
        run.report(2**70, loss=1.0)

    def _bad_name(self, run, seconds, steps):
        run.report(1, **{"\ud800": 1.0})

    def _bad_progress(self, run, seconds, steps):
        run.progress(float("nan"), 1)

    def _silent(self, run, seconds, steps):
        self._sleep(seconds)

    def _reading(self, run, seconds, steps):
        run.progress(0, 1, "reading")
        self._sleep(seconds)

    def _evaluating(self, run, seconds, steps):
        run.phase("evaluating")
        self._sleep(seconds)

    def _large(self, run, seconds, steps):
        self._finish(run, seconds, steps)
        return {"text": "x" * (1 << 20)}

    def _exit(self, run, seconds, steps):
        print("last words before exiting", flush=True)
        os._exit(9)

    def _segfault(self, run, seconds, steps):
        os.kill(os.getpid(), signal.SIGSEGV)

    def _no_json(self, run, seconds, steps):
        self._finish(run, seconds, steps)
        return {"an object": object()}

    def _count(self, run, seconds, steps):
        """Leaves a mark for each time that train() is called, and an obstacle to publishing."""
        with (run.folder / "trainings").open("a") as file:
            file.write("x")
        result = self._finish(run, seconds, steps)
        (run.folder.parent / "version").write_text("in the way")
        return result

    def _burn(self, run, seconds, steps):
        """Uses all it gets of CPU 0 until a time that the caller set; how much that was."""
        os.sched_setaffinity(0, {0})
        (run.folder / "ready").touch()
        while not (run.folder / "go").exists():
            time.sleep(0.005)
        began, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return {"cpu_s": time.process_time() - began}

    def _where(self, run, seconds, steps):
        return {
            "nice": os.nice(0),
            "cwd": str(Path.cwd()),
            "environment": dict(os.environ),
            "descriptors": self._descriptors(),
            "threads": run.threads,
            "seed": run.seed,
            "session": os.getsid(0),
        }

    def _descriptors(self):
        """What each open descriptor points to."""
        found = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the one that lists this folder
                found.append(str(link.readlink()))
        return found

    def _sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)

    def _fork(self, seconds, first=None):
        if os.fork() == 0:
            if first is not None:
                first()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(seconds)
            os._exit(0)


def _quoted(script):
    return script.replace("'", "'\\''")
