"""A model whose versions load as they were trained to: well, slowly, or not at all."""

import json
import os
import random
import signal
import time

from marshmallow import fields, validate

from modelyard.models_plugin import Model
from modelyard.schemas.fields import Tensor

MOODS = ("well", "slow", "hang", "raise", "crash", "flaky")


class Moody(Model):
    """Adds the number of its version to what it gets, so that an answer tells who gave it."""

    max_batch = 8
    train_arguments = {
        "mood": fields.String(load_default="well", validate=validate.OneOf(MOODS)),
        "number": fields.Integer(required=True),
    }
    predict_arguments = {
        "x": Tensor(shape=(None,), required=True),
        "seconds": fields.Float(load_default=0.0, metadata={"unit": "s"}),
    }
    predict_response = {"y": Tensor(shape=(None,))}

    def train(self, run, mood, number):
        run.report(1, number=number)
        with run.checkpoint(step=1) as checkpoint:
            text = json.dumps({"mood": mood, "number": number})
            (checkpoint.weights / "mood.json").write_text(text)

    def load(self, weights, device):
        told = json.loads((weights / "mood.json").read_text())
        mood, self.number = told["mood"], told["number"]
        if mood == "slow":
            time.sleep(1.0)
        if mood == "hang":
            time.sleep(3600)
        if mood == "raise":
            raise ValueError("these weights are of no use")
        if mood == "crash" or (mood == "flaky" and random.random() < 0.5):
            os.kill(os.getpid(), signal.SIGSEGV)

    def predict(self, **call):
        return self.predict_batch([call])[0]

    def predict_batch(self, calls):
        time.sleep(0.005 + max(call["seconds"] for call in calls))
        return [{"y": call["x"] + self.number} for call in calls]
