"""Models whose processes do unusual things, for tests of the pool alone."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from marshmallow import fields, validate

from modelyard.models_plugin import Model


class Odd(Model):
    """Does on request what `do` says."""

    weights_optional = True
    predict_arguments = {
        "do": fields.String(load_default="answer"),
        "seconds": fields.Float(load_default=0.0),
        "note": fields.String(load_default=""),
    }
    train_arguments = {"do": fields.String(load_default="answer")}

    def predict(self, do, seconds, note):
        return getattr(self, "_" + do)(seconds, note)

    def train(self, run, do):
        return None

    def _answer(self, seconds, note):
        time.sleep(seconds)
        return {"pid": os.getpid(), "note": note}

    def _child(self, seconds, note):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(note).write_text(str(child.pid))
        time.sleep(600)

    def _answer_and_die(self, seconds, note):
        threading.Timer(0.05, os._exit, [5]).start()
        return {"pid": os.getpid()}

    def _hold_the_lock(self, seconds, note):
        ctypes.PyDLL(None).sleep(int(seconds))  # PyDLL keeps the interpreter's lock
        return "held"

    def _deep(self, seconds, note):
        """A stack overflow below Python, with something printed before."""
        print("about to overflow")
        callback = ctypes.CFUNCTYPE(None)
        recurse = callback(lambda: recurse())
        sys.setrecursionlimit(10**9)
        recurse()

    def _flood(self, seconds, note):
        for _ in range(50):
            print("x" * 999_999)
        return "printed"

    def _threads(self, seconds, note):
        for _ in range(20):
            threading.Thread(target=time.sleep, args=(600,)).start()
        return "left"

    def _close(self, seconds, note):
        os.closerange(0, 200)
        return "closed"

    def _print(self, seconds, note):
        print("a line")
        return "printed"

    def _modules(self, seconds, note):
        return [name for name in ("api", "modelyard") if name in sys.modules]

    def _import(self, seconds, note):
        module = __import__(note)
        return str(module.__file__)

    def _environment(self, seconds, note):
        return dict(os.environ)


class Choosy(Model):
    """Its choices are read from a file, as those that are read from a folder of weights."""

    weights_optional = True

    def predict_arguments(self):
        choices = Path(os.environ["CHOICES"]).read_text().split()
        return {"one": fields.String(validate=validate.OneOf(choices))}

    def predict(self, one=None):
        return one


def _check_slowly(word):
    if word == "hang":
        time.sleep(600)


class Hesitant(Model):
    """Checks an argument by something that may never answer; describes itself as a file says."""

    predict_arguments = {"seconds": fields.Float(load_default=0.0)}
    train_arguments = {"word": fields.String(load_default="", validate=_check_slowly)}

    def metadata(self):
        if Path(os.environ.get("SILENT", "none")).exists():
            time.sleep(600)
        return {}

    def load(self, weights, device):
        pass

    def predict(self, seconds):
        if seconds:
            ctypes.PyDLL(None).sleep(int(seconds))
        return {"pid": os.getpid()}

    def train(self, run, word):
        return None


class Weighty(Model):
    """Predicts with its weights; takes batches; how it loads is written in the weights."""

    max_batch = 4

    def load(self, weights, device):
        self.text = (weights / "text").read_text()
        if self.text == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.text == "hang":
            time.sleep(600)
        if self.text == "bad":
            raise ValueError("bad weights")
        if self.text == "waits":
            (weights / "pid").write_text(str(os.getpid()))
            while not (weights / "go").exists():
                time.sleep(0.01)

    def predict(self):
        return self.predict_batch([{}])[0]

    def predict_batch(self, calls):
        time.sleep(0.05)
        return [{"text": self.text, "together": len(calls)} for _ in calls]


class SlowToMake(Model):
    """Longer than it takes until somebody looks at the memory."""

    weights_optional = True

    def __init__(self):
        time.sleep(5)

    def predict(self):
        return "made"


class CrashesWhenMade:
    def __init__(self):
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    def predict(self):
        return None


class CrashesOnce:
    """Dies at its first import, serves from the second on."""

    def __init__(self):
        mark = Path(os.environ["MARK"])
        if not mark.exists():
            mark.touch()
            os._exit(4)

    def predict(self):
        return "second"
