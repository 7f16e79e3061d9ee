"""Models with a batched form, for tests of how calls are put together."""

import os
import time
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin import Model
from modelyard.schemas.fields import Tensor


class Summing(Model):
    """Answers each call with its own number and the batch that it was in."""

    weights_optional = True
    max_batch = 16
    predict_arguments = {
        "number": fields.Integer(load_default=0),
        "padding": fields.String(load_default=""),
        "do": fields.String(load_default=""),
        "seconds": fields.Float(load_default=0.02),
    }

    def predict(self, **call):
        return self.predict_batch([call])[0]

    def predict_batch(self, calls):
        deeds = [call["do"] for call in calls]
        if "die" in deeds:
            os._exit(7)
        if "refuse" in deeds:
            raise ValueError("one of them is bad")
        time.sleep(max(call["seconds"] for call in calls))
        told = {"together": len(calls), "lengths": sorted({len(one["padding"]) for one in calls})}
        return [{"number": call["number"], **told} for call in calls]


class Rows(Model):
    """Answers each call with the number of rows of its batch; a row takes 20 ms."""

    weights_optional = True
    max_batch = 16
    predict_arguments = {"x": Tensor(shape=(None, 2), many=True, required=True)}

    def predict(self, x):
        return self.predict_batch([{"x": x}])[0]

    def predict_batch(self, calls):
        rows = sum(len(call["x"]) for call in calls)
        time.sleep(0.02 * rows)
        return [{"rows": rows, "own": call["x"].tolist()} for call in calls]


class SlowToComeBack(Summing):
    """Is not made while the file that `SLOW` names is there."""

    def __init__(self):
        while Path(os.environ["SLOW"]).exists():
            time.sleep(0.05)
