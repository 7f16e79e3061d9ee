"""Every kind of training result, and what trainings do besides; `do` chooses."""

import datetime
import logging
import os
import sys
import time

from oslo_log import log
from webargs import fields

LOG = log.getLogger(__name__)
STATE = {"trained": 0}


class History:
    """As Keras' `fit` returns it."""

    def __init__(self):
        self.epoch = [0, 1]
        self.params = {"epochs": 2}
        self.history = {"loss": [0.5, 0.25]}


def get_train_args():
    return {
        "do": fields.Str(missing="dict"),
        "when": fields.DateTime(missing=None),
        "password": fields.Str(load_only=True, missing="", metadata={"format": "password"}),
        "seconds": fields.Float(missing=0.0),
    }


def predict():
    return {"environment": os.getenv("OLD_TRAINER_RAN"), "state": STATE}


def train(do, when, password, seconds):
    STATE["trained"] += 1
    os.environ["OLD_TRAINER_RAN"] = "yes"
    print("training", do)
    print("to stderr", do, file=sys.stderr)
    LOG.info("logged by oslo %s", do)
    logging.getLogger("old.trainer").warning("logged by logging %s", do)
    return globals()["_" + do](seconds)


def _dict(seconds):
    return {"loss": 0.25}


def _none(seconds):
    return None


def _text(seconds):
    return "trained well"


def _history(seconds):
    return History()


def _set(seconds):
    return {"trained well"}


def _numpy(seconds):
    import numpy as np

    return {"accuracy": np.float32(0.5), "confusion": np.eye(2)}


def _date(seconds):
    return {"ended": datetime.datetime(2026, 1, 2, 3, 4, 5)}


def _object(seconds):
    return {"model": object()}


def _environment(seconds):
    names = ("AWS_", "MODELYARD_", "MODULES_OWN")
    return {name: value for name, value in os.environ.items() if name.startswith(names)}


def _sleep(seconds):
    time.sleep(seconds)
    return {"slept": seconds}


def _epochs(seconds):
    for epoch in range(1000):
        print("epoch", epoch, flush=True)
        time.sleep(seconds)


def _fail(seconds):
    raise ValueError("the moon is full")


def _exit(seconds):
    os._exit(3)


def _print(seconds):
    for _ in range(200):
        print("x" * 65_536)
    return "printed"


def _flood(seconds):
    for _ in range(1024):
        print("x" * 1_048_575)
        time.sleep(0.005)
    print("the last words")
    return 1024**3
