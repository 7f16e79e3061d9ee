"""A model of tensors with weights: adds what it was trained with, after as long as it is told."""

import json
import os
import time

from marshmallow import fields

from modelyard.models_plugin import Model
from modelyard.schemas.fields import Tensor


class Shift(Model):
    weights_optional = True
    train_arguments = {"by": fields.Float(required=True)}
    predict_arguments = {
        "x": Tensor(shape=(None,), required=True),
        "seconds": fields.Float(load_default=0.0),
        "do": fields.String(load_default="answer"),
    }
    predict_response = {"y": Tensor(shape=(None,))}

    def load(self, weights, device):
        self.by = 0.0 if weights is None else json.loads((weights / "by.json").read_text())

    def train(self, run, by):
        run.report(1, by=by)
        with run.checkpoint(step=1) as checkpoint:
            (checkpoint.weights / "by.json").write_text(json.dumps(by))

    def predict(self, x, seconds, do):
        time.sleep(seconds)
        if do == "fail":
            raise ValueError("it is told to fail")
        if do == "die":
            os._exit(9)
        return {"y": (x[:1] if do == "first" else x) + self.by}
