"""A model that does, on request, what no model should."""

import ctypes
import datetime
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from marshmallow import ValidationError, fields

from modelyard.models_plugin import Model


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
    }
    train_arguments = {"do": fields.String(load_default="answer")}

    def predict(self, do, seconds):
        return getattr(self, "_" + do)(seconds)

    def train(self, run, do):
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
