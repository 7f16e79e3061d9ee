"""What modules do in a process of their own: children, threads, signals, loops, relative paths."""

import argparse
import asyncio
import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import marshmallow
from deepaas.model.v2.wrapper import UploadedFile
from webargs import fields

logging.basicConfig(level=logging.INFO)
parser = argparse.ArgumentParser()
parser.add_argument("--batch", default=4)
OPTIONS, _ = parser.parse_known_args()
STARTED_IN = os.getcwd()


class Arguments(marshmallow.Schema):
    """Made while the module is imported, by every process that imports it."""

    do = fields.Str(missing="where", description="which work")
    file = fields.Field(type="file", location="form", missing=UploadedFile())


def get_predict_args():
    return {"do": Arguments().fields["do"]}


get_train_args = get_predict_args


def predict(do):
    return globals()["_" + do]()


train = predict


def square(number):
    return number * number


def _where():
    return {"cwd": os.getcwd(), "started_in": STARTED_IN, "batch": OPTIONS.batch}


def _spawn():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, [1, 2, 3])


def _fork():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(square, [1, 2, 3])


def _process():
    child = multiprocessing.Process(target=print, args=("printed by a child",))
    child.start()
    child.join(20)
    return child.exitcode


def _command():
    return subprocess.run(
        [sys.executable, "-c", "print('said')"], capture_output=True, text=True
    ).stdout


def _signal():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(0)
    return threading.current_thread() is threading.main_thread()


def _loop():
    async def answer():
        await asyncio.sleep(0)
        return "from a loop"

    return asyncio.run(answer())


def _thread():
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return "left behind"


def _relative():
    os.makedirs("relative", exist_ok=True)
    with open(os.path.join("relative", "file.txt"), "w") as file:
        file.write("written")
    return os.path.abspath("relative")


def _stdin():
    return sys.stdin.read()


def _stdout():
    sys.stdout.buffer.write(b"bytes to stdout\n")
    os.write(1, b"to the descriptor\n")
    return sys.stdout.fileno() >= 0


def _generator():
    return (number for number in range(3))


def _temporary():
    file = tempfile.NamedTemporaryFile(suffix=".txt")
    file.write(b"in a temporary file")
    file.flush()
    return file


def _string_io():
    return io.StringIO("text in memory")
