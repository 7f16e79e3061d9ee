"""A module whose `warm` loads the model and says so."""

import os
import time

from webargs import fields

from . import paths

MODEL = None

if os.getenv("OLD_WARM_MARKS"):
    with open(paths.BASE / "imports.txt", "a") as file:
        file.write("%s\n" % os.getpid())


def warm():
    global MODEL
    MODEL = {"warmed_in": os.getpid()}
    if os.getenv("OLD_WARM_FAILS"):
        raise RuntimeError("no weights to warm")


def get_predict_args():
    return {"seconds": fields.Float(missing=0.0)}


def predict(seconds):
    time.sleep(seconds)
    return {"warmed": MODEL == {"warmed_in": os.getpid()}, "pid": os.getpid()}


def get_train_args():
    return {"seconds": fields.Float(missing=0.0)}


def train(seconds):
    time.sleep(seconds)
    return {"pid": os.getpid()}
