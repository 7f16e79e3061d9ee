"""The pattern of the platform's demonstration module.

Arguments with dashes, three required media files told apart by their description, a dict passed
as a string, `enum` without a validator, a decorator round `predict`, a dict response schema.
"""

import base64
import functools
import json
import math
import time
from importlib import metadata

from aiohttp.web import HTTPBadRequest
from webargs import fields, validate

from . import paths

MEDIA = ("demo-image", "demo-audio", "demo-video")


def _bad_request(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise HTTPBadRequest(reason=error)

    return inner


@_bad_request
def get_metadata():
    about = metadata.metadata("old-modules")
    names = ("Name", "Version", "Summary", "Author", "Author-email", "License")
    return {name.lower(): about[name] for name in names}


def get_train_args():
    return {
        "epoch_num": fields.Int(
            required=False, missing=10, description="Total number of training epochs"
        ),
    }


def train(**kwargs):
    folder = paths.MODELS / time.strftime("%Y-%m-%d_%H-%M-%S")
    folder.mkdir(parents=True)
    for epoch in range(kwargs["epoch_num"]):
        print("epoch", epoch, "loss", 1 / math.exp(epoch))
    (folder / "final_model.hdf5").write_bytes(b"weights")
    return {"status": "done", "final accuracy": 0.9}


def get_predict_args():
    arguments = {
        "demo-str": fields.Str(required=False, missing="some-string"),
        "demo-str-choice": fields.Str(
            required=False, missing="choice2", enum=["choice1", "choice2"]
        ),
        "demo-int": fields.Int(required=False, missing=1),
        "demo-int-range": fields.Int(
            required=False, missing=50, validate=[validate.Range(min=1, max=100)]
        ),
        "demo-float": fields.Float(required=False, missing=0.1),
        "demo-bool": fields.Bool(required=False, missing=True),
        "demo-dict": fields.Str(required=False, missing='{"a": 0, "b": 1}'),
        "demo-list-of-floats": fields.List(fields.Float(), required=False, missing=[0.1, 0.2, 0.3]),
    }
    for name in MEDIA:
        arguments[name] = fields.Field(
            required=True, type="file", location="form", description=name.split("-")[1]
        )
    return arguments


@_bad_request
def predict(**kwargs):
    kwargs["demo-dict"] = json.loads(kwargs["demo-dict"])
    kwargs["labels"] = ["class0", "class1"]
    kwargs["probabilities"] = [0.75, 0.25]
    for name in MEDIA:
        with open(kwargs[name].filename, "rb") as file:
            kwargs[name] = base64.b64encode(file.read()).decode("utf-8")
    return kwargs


schema = {
    "demo-str": fields.Str(),
    "demo-str-choice": fields.Str(),
    "demo-int": fields.Int(),
    "demo-int-range": fields.Int(),
    "demo-float": fields.Float(),
    "demo-bool": fields.Bool(),
    "demo-dict": fields.Dict(),
    "demo-list-of-floats": fields.List(fields.Float()),
    "demo-image": fields.Str(description="image"),
    "demo-audio": fields.Str(description="audio"),
    "demo-video": fields.Str(description="video"),
    "labels": fields.List(fields.Str()),
    "probabilities": fields.List(fields.Float()),
}
