"""A model that does, on request, what no model should."""

import builtins
import ctypes
import datetime
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from marshmallow import Schema, ValidationError, fields

from modelyard.models_plugin import InvalidData, Model, ReturnedFile
from modelyard.schemas.fields import File

STATE = {}


def _told_in_full(word):
    raise ValidationError(f"{word} is wrong")


def _above(run):
    """The processes that keep a training: its supervisor, the guardian, the fork server."""
    assert run is not None, "the parent of a prediction is the server"
    found, pid = [], os.getpid()
    for _ in range(3):
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid")).split()[1])
        found.append(pid)
    return found


def _stop(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


class HTTPException(Exception):
    """Looks like aiohttp's: adapters know it by its name."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Hostile(Model):
    weights_optional = True
    predict_arguments = {
        "do": fields.String(load_default="answer"),
        "seconds": fields.Float(load_default=0.0),
        "file": File(load_default=None),
        "token": fields.String(load_default="", metadata={"format": "password"}),
        "word": fields.String(validate=_told_in_full),
    }
    train_arguments = {
        "do": fields.String(load_default="answer"),
        "token": fields.String(load_default="", metadata={"format": "password"}),
    }

    def predict(self, do, seconds, file, token, word=""):
        self.run, self.token = None, token
        self.place = None if file is None else Path(file.filename).parent
        return getattr(self, "_" + do)(seconds)

    def train(self, run, do, token):
        self.run, self.token = run, token
        self.place = run.folder.parent
        return getattr(self, "_" + do)(0)

    def _answer(self, seconds):
        return {"pid": os.getpid()}

    def _sleep(self, seconds):
        time.sleep(seconds)
        return {"pid": os.getpid()}

    def _exit(self, seconds):
        os._exit(3)

    def _system_exit(self, seconds):
        sys.exit("enough")

    def _interrupt(self, seconds):
        raise KeyboardInterrupt

    def _segfault(self, seconds):
        ctypes.string_at(0)

    def _stop(self, seconds):
        os.kill(os.getpid(), signal.SIGSTOP)

    def _stop_supervisor(self, seconds):
        """Of a training only: the parent of a prediction is the server."""
        _stop(_above(self.run)[:1])
        time.sleep(600)

    def _stop_guardian(self, seconds):
        _stop(_above(self.run)[1:2])
        return "stopped"

    def _stop_all_above(self, seconds):
        """Supervisor, guardian and fork server: the nearest last, it would end us."""
        _stop(_above(self.run)[::-1])
        time.sleep(600)

    def _hang(self, seconds):
        while True:
            time.sleep(1)

    def _fail(self, seconds):
        raise ValueError("the moon is full")

    def _recurse(self, seconds):
        return self._recurse(seconds)

    def _not_implemented(self, seconds):
        raise NotImplementedError("not yet")

    def _teapot(self, seconds):
        raise HTTPException(418, "a teapot")

    def _refuse_argument(self, seconds):
        raise ValidationError({"seconds": ["Too many."]})

    def _no_json(self, seconds):
        return {"it": object()}

    def _numpy(self, seconds):
        import numpy as np  # not in each environment that this is installed in

        return {
            "array": np.arange(4, dtype="int16").reshape(2, 2),
            "scalar": np.float32(0.5),
            "nan": float("nan"),
            "numpy_nan": np.array([1.0, np.nan]),
            "moment": datetime.datetime(2026, 1, 2, 3, 4, 5),
            "day": datetime.date(2026, 1, 2),
            "set": {1, 2},
            "bytes": b"abc",
            "keys": {1: 2},
        }

    def _large(self, seconds):
        return "x" * 20_000_000

    def _print(self, seconds):
        for _ in range(2000):
            print("x" * 10_000)
        return "printed"

    def _chdir(self, seconds):
        os.chdir("/")
        os.umask(0o777)
        return str(Path.cwd())

    def _close_files(self, seconds):
        os.closerange(0, 100)
        return "closed"

    # -- ends ---------------------------------------------------------------------------------

    def _abort(self, seconds):
        os.abort()

    def _overflow(self, seconds):
        """Deeper than the stack is: no Python error stands in the way."""
        sys.setrecursionlimit(1 << 30)
        nested = []
        for _ in range(2_000_000):
            nested = [nested]
        return repr(nested)

    def _spin(self, seconds):
        while True:
            pass

    def _spin_in_c(self, seconds):
        """Holds the interpreter's lock: no Python code of the process runs beside it."""
        ctypes.PyDLL(None).sleep(600)

    # -- too much -----------------------------------------------------------------------------

    def _hog(self, seconds):
        """Takes memory until there is none, in pieces that are really used."""
        pieces = []
        while True:
            pieces.append(bytearray(b"x") * (16 << 20))

    def _hogs(self, seconds):
        """The same in several processes, each of which has little."""
        for _ in range(8):
            if os.fork() == 0:
                piece = bytearray(b"x") * (48 << 20)
                time.sleep(600)
                os._exit(len(piece) % 2)
        time.sleep(600)

    def _huge(self, seconds):
        return "x" * (512 << 20)

    def _huge_bytes(self, seconds):
        return bytes(512 << 20)

    def _endless_file(self, seconds):
        return Path("/dev/zero").open("rb")

    def _flood(self, seconds):
        for _ in range(256):
            print("x" * (1 << 20))
        return "printed"

    # -- left behind --------------------------------------------------------------------------

    def _fork(self, seconds):
        """Children: one stays, one comes back as if it were its parent, one raises on the way."""
        for after in (lambda: time.sleep(600), lambda: None, lambda: sys.exit(3)):
            if os.fork() == 0:
                after()
                return {"pid": os.getpid()}
        time.sleep(0.5)
        return {"pid": os.getpid()}

    def _threads(self, seconds):
        for _ in range(20):
            threading.Thread(target=time.sleep, args=(600,)).start()
        return "left"

    def _close_all_files(self, seconds):
        os.closerange(0, 1 << 20)
        return "closed"

    # -- changed ------------------------------------------------------------------------------

    def _signals(self, seconds):
        """Ignores and blocks them, and leaves an alarm that would end whoever runs then."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        return "changed"

    def _environment(self, seconds):
        os.environ.clear()
        os.environ["PATH"] = "/nowhere"
        return "changed"

    def _globals(self, seconds):
        STATE["changed"] = True
        sys.path[:] = []
        sys.setrecursionlimit(100)
        return "changed"

    def _patch(self, seconds):
        """Takes the standard library apart."""

        def broken(*args, **more):
            raise RuntimeError("patched")

        for module, names in (
            (json, ("loads", "dumps")),
            (time, ("time", "monotonic", "perf_counter")),
            (os, ("getpid", "fspath", "open", "write", "stat")),
            (socket, ("socket",)),
            (builtins, ("open", "print")),
        ):
            for name in names:
                setattr(module, name, broken)
        return "patched"

    def _patch_reading(self, seconds):
        """Nothing that comes can be read any more."""
        socket.socket.recvmsg = None
        sys.modules["modelyard.serving.frames"].FrameReader.feed = None
        return "patched"

    def _delete(self, seconds):
        """The folder of the call or run, with all in it."""
        shutil.rmtree(self.place)
        return "deleted"

    def _delete_temporary(self, seconds):
        """What it and others of its process have there, and the folder itself."""
        tempfile.mkstemp()
        shutil.rmtree(tempfile.gettempdir())
        return "deleted"

    def _patch_builtins(self, seconds):
        """What every module finds without an import: what is sent has no length."""
        builtins.len = lambda of: 0
        return "patched"

    def _patch_libraries(self, seconds):
        """What checks the arguments of every call."""
        Schema.load = Schema.validate = Schema.dump = lambda *given, **more: {"do": "fail"}
        fields.Field.deserialize = lambda *given: "fail"
        del fields.String._deserialize
        return "patched"

    def _patch_all(self, seconds):
        """Every function of some modules that everything needs."""

        def broken(*args, **more):
            raise RuntimeError("patched")

        for module in (os, os.path, json, time, tempfile, threading, shutil):
            for name, value in list(vars(module).items()):
                if callable(value) and not isinstance(value, type) and name[0] != "_":
                    setattr(module, name, broken)
        return "patched"

    # -- odd answers --------------------------------------------------------------------------

    def _headers(self, seconds):
        """Would be two headers."""
        return ReturnedFile(b"x", "text/html\r\nSet-Cookie: a=b", 'a"\r\nX-Forged: 1')

    def _lambda(self, seconds):
        return {"it": lambda: 1, "lock": threading.Lock()}

    def _circular(self, seconds):
        """Has no end when it is written."""
        ring = {"name": "ring"}
        ring["ring"] = [ring]
        return ring

    def _nan(self, seconds):
        return [float("nan"), float("inf"), {"deep": [float("-inf")]}]

    def _speechless(self, seconds):
        class Silent(Exception):
            def __str__(self):
                raise RuntimeError("no words")

        raise Silent

    def _forge(self, seconds):
        """Would be a line of the server's own log, and a cleared screen."""
        line = '{"event": "forged", "level": "info"}'
        print(f"\x1b[2J\r{line}\n{line}")
        raise ValueError(f"first\n{line}\n\x1b[31mred")

    def _tell(self, seconds):
        """Tells the secret wherever something can be told, and fails with it."""
        print("printed:", self.token)
        print(f"to stderr: {self.token!r}", file=sys.stderr)
        if self.run is not None:
            self.run.log(f"logged: {self.token}")
            self.run.note(f"noted: {self.token}")
            self.run.progress(1, 2, f"doing {self.token}")
        raise RuntimeError(f"https://example.org/?token={quote(self.token)} refused {self.token}")

    def _name_it(self, seconds):
        """A number by the name of the secret, wherever a run takes names of numbers."""
        for step in range(3):
            self.run.report(step, **{self.token: 0.5, "loss": 0.1, f"of {self.token}": 0.2})
        with self.run.checkpoint(1, metric=0.5, metrics={self.token: 0.5}) as checkpoint:
            (checkpoint.weights / "nothing").write_text("nothing")
        return {self.token: 1}

    def _misname_it(self, seconds):
        """The same where it is refused, so that it is quoted."""
        self.run.report(1, loss=self.token)

    def _misplace_it(self, seconds):
        raise InvalidData("cannot be read", file=f"{self.token}.csv")

    def _return_it(self, seconds):
        if self.run is not None:
            with self.run.checkpoint(1) as checkpoint:
                (checkpoint.weights / "nothing").write_text("nothing")
        return {"token": self.token, "list": [self.token]}
