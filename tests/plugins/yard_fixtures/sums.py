"""Models of tensors: one answers with one tensor, one with several things, one without a schema."""

import numpy as np
from marshmallow import fields

from modelyard.models_plugin import Model
from modelyard.schemas.fields import Tensor


class Sums(Model):
    """The sum of each row, times `scale`."""

    weights_optional = True
    predict_arguments = {
        "x": Tensor(shape=(None, 3), required=True),
        "scale": fields.Float(load_default=1.0),
    }
    predict_response = {"y": Tensor(shape=(None,))}

    def predict(self, **call):
        return self.predict_batch([call])[0]

    def predict_batch(self, calls):
        return [{"y": call["x"].sum(1) * np.float32(call["scale"])} for call in calls]


class Labels(Model):
    weights_optional = True
    predict_arguments = {
        "x": Tensor(shape=(2, 2), dtype="int64", required=True),
        "mask": Tensor(shape=(2,), dtype="bool", required=True),
        "word": fields.String(load_default="none"),
    }
    predict_response = {
        "kept": Tensor(shape=(None, 2), dtype="int64"),
        "half": Tensor(shape=(2, 2), dtype="float16"),
        "word": fields.String(),
    }

    def predict(self, x, mask, word):
        return {"kept": x[mask], "half": x / 2, "word": word}


class Plain(Model):
    weights_optional = True
    predict_arguments = {"x": Tensor(required=True)}

    def predict(self, x):
        return x * 2 if x.size else "nothing"
