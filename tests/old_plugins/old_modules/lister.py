"""A module that lists its trainings once, while it is imported, and can fail to do it again."""

import os
import time

from webargs import fields

from . import paths

if (paths.MODELS / "broken").exists():
    raise RuntimeError("the model folder holds something broken")

KNOWN = sorted(paths.folders(paths.MODELS))


def get_train_args():
    return {"name": fields.Str(required=True)}


def train(name):
    (paths.MODELS / name).mkdir(parents=True, exist_ok=True)
    return {"status": "done"}


def get_predict_args():
    return {
        "model": fields.Str(enum=KNOWN, missing=None, allow_none=True),
        "seconds": fields.Float(missing=0.0),
    }


def predict(model, seconds):
    time.sleep(seconds)
    return {"model": model, "pid": os.getpid()}
