"""A model with a batched form: tells how many calls came together."""

import os
import time

from marshmallow import fields

from modelyard.models_plugin import Model


class Batcher(Model):
    weights_optional = True
    max_batch = 8
    predict_arguments = {
        "n": fields.Integer(load_default=0),
        "do": fields.String(load_default="answer"),
        "seconds": fields.Float(load_default=0.0),
    }

    def predict(self, n, do, seconds):
        return self.predict_batch([{"n": n, "do": do, "seconds": seconds}])[0]

    def predict_batch(self, calls):
        for call in calls:
            time.sleep(call["seconds"])
            if call["do"] == "fail":
                raise ValueError(f"call {call['n']} is bad")
            if call["do"] == "die":
                os._exit(9)
        return [{"n": call["n"], "together": len(calls)} for call in calls]
