"""Our side of the comparison: the two models as plugins of the native contract, in batches.

A training only makes weights of another seed: the scene of swaps needs versions to swap.
"""

import json
from typing import ClassVar

import numpy as np
from marshmallow import fields
from network import FEATURES, Network, decode

from modelyard.models_plugin import Model
from modelyard.schemas.fields import File, Tensor


class _Served(Model):
    kind = ""
    weights_optional = True
    max_batch = 64
    train_arguments: ClassVar = {"seed": fields.Integer(required=True)}

    def load(self, weights, device):
        seed = 0
        if weights is not None:
            seed = json.loads((weights / "seed.json").read_text())["seed"]
        self.network = Network(self.kind, seed)

    def train(self, run, seed):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "seed.json").write_text(json.dumps({"seed": seed}))

    def predict(self, x):
        return self.predict_batch([{"x": x}])[0]


class Perceptron(_Served):
    """64 numbers in, 10 out."""

    kind = "perceptron"
    predict_arguments: ClassVar = {"x": Tensor(shape=(FEATURES,), dtype="float32", required=True)}

    def warm(self):
        self.network.predict([np.zeros(FEATURES, np.float32)])

    def predict_batch(self, calls):
        return list(self.network.predict([call["x"] for call in calls]))


class Cnn(_Served):
    """A PNG in, 10 numbers out."""

    kind = "cnn"
    predict_arguments: ClassVar = {"x": File(content_types=("image/png",), required=True)}

    def predict_batch(self, calls):
        pictures = []
        for call in calls:
            with call["x"].open() as file:
                pictures.append(decode(file.read()))
        return list(self.network.predict(pictures))
