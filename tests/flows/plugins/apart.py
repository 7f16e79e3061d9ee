"""A model that says where it runs; installed in environments that the server is not in."""

import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from importlib.metadata import version

import marshmallow
import webargs
from marshmallow import fields, validate

from modelyard.models_plugin import Model


def where(number=0):
    """Also called in a process that is spawned, which has to find this module, and ours, anew."""
    return {
        "number": number,
        "prefix": sys.prefix,
        "python": list(sys.version_info[:2]),
        "marshmallow": version("marshmallow"),
        "webargs": version("webargs"),
        "has": [
            name
            for name in ("aiohttp", "orjson", "numpy", "sqlalchemy")
            if importlib.util.find_spec(name)
        ],
        "virtual_env": os.environ.get("VIRTUAL_ENV"),
        "temporary": tempfile.gettempdir(),
    }


class Apart(Model):
    """Its arguments are checked by the marshmallow of its own environment."""

    metadata = {"summary": "Apart", "libraries": [marshmallow.__name__, webargs.__name__]}
    weights_optional = True
    predict_arguments = {"number": fields.Integer(required=True, validate=validate.Range(max=9))}
    train_arguments = {
        "epochs": fields.Integer(load_default=2, validate=validate.Range(min=1)),
        "seconds": fields.Float(load_default=0.0),
    }

    def load(self, weights, device):
        self.bias = 0 if weights is None else int((weights / "bias.txt").read_text())

    def predict(self, number):
        return {"sum": number + self.bias, **where()}

    def train(self, run, epochs, seconds):
        run.phase("training")
        for epoch in range(epochs):
            run.report(epoch, loss=1.0 / (epoch + 1), odd=float("nan"))
            run.progress(epoch + 1, epochs, "epochs")
            time.sleep(seconds)
        with run.checkpoint(epochs, metric=1.0) as checkpoint:
            (checkpoint.weights / "bias.txt").write_text("100")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            spawned = pool.map(where, [7])
        return {"spawned": spawned[0], **where()}
