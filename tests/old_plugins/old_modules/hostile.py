"""What no module should do, and some do; `do` chooses."""

import ctypes
import os
import sys
import time

from webargs import fields


def get_predict_args():
    return {"do": fields.Str(missing="answer"), "seconds": fields.Float(missing=0.0)}


get_train_args = get_predict_args


def predict(do, seconds):
    return globals()["_" + do](seconds)


train = predict


def _answer(seconds):
    time.sleep(seconds)
    return {"pid": os.getpid(), "cwd": os.getcwd(), "home": os.getenv("HOME")}


def _exit(seconds):
    os._exit(3)


def _sys_exit(seconds):
    sys.exit(2)


def _segfault(seconds):
    ctypes.string_at(0)


def _print(seconds):
    for _ in range(300):
        print("x" * 65_536)
        print("y" * 1_000, file=sys.stderr)
    return "printed"


def _environment(seconds):
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    return os.getcwd()


def _flood(seconds):
    for _ in range(1024):
        print("x" * 1_048_575)
    return 1024**3
