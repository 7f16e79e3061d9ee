"""Models for tests of plugin tasks: what an export may do to its process."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from modelyard.models_plugin import Model


class Exporter(Model):
    """Does what the text in its weights says."""

    export_formats = ("plain", "other")

    def load(self, weights, device):
        self.does, _, self.note = (weights / "text").read_text().partition(" ")
        self.device = device

    def predict(self):
        return None

    def export(self, format, folder):
        print("exporting now", flush=True)
        return getattr(self, "_" + self.does)(format, folder)

    def _well(self, format, folder):
        (folder / "model.txt").write_text(f"{format} {self.device}")
        group = Path("/proc/self/autogroup")
        return {
            "max_difference": 0.25,
            "samples": 3,
            "pid": os.getpid(),
            "nice": os.nice(0),
            "group": group.read_text().split()[-1] if group.exists() else "",
        }

    def _nothing(self, format, folder):
        return {"max_difference": 0.0, "samples": 1}

    def _nan(self, format, folder):
        self._well(format, folder)
        return {"max_difference": float("nan"), "samples": 1}

    def _untold(self, format, folder):
        self._well(format, folder)

    def _raise(self, format, folder):
        raise KeyError("no such layer")

    def _exit(self, format, folder):
        sys.exit(5)

    def _segfault(self, format, folder):
        ctypes.string_at(0)

    def _leave(self, format, folder):
        os._exit(0)

    def _hang(self, format, folder):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.note).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)

    def _stop(self, format, folder):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.note).write_text(f"{os.getpid()} {child.pid}")
        os.kill(os.getpid(), signal.SIGSTOP)

    def _close(self, format, folder):
        os.closerange(3, 256)
        return self._well(format, folder)

    def _large(self, format, folder):
        return {**self._well(format, folder), "text": "x" * (65 << 20)}


class Plain(Model):
    """Has no export."""

    def predict(self):
        return None
