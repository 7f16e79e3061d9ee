"""A model with an argument of every field kind: answers with what arrived, type by type."""

import enum

import numpy as np
from marshmallow import Schema, fields, validate

from modelyard.models_plugin import Model
from modelyard.schemas.fields import Tensor


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Box(Schema):
    left = fields.Integer(required=True)
    label = fields.String(load_default="none")


class Kinds(Model):
    metadata = {"summary": "Every kind of argument", "author": "tests"}
    weights_optional = True
    predict_arguments = {
        "text": fields.String(load_default="a"),
        "whole": fields.Integer(load_default=1, validate=validate.Range(min=0, max=10)),
        "number": fields.Float(load_default=0.5),
        "decimal": fields.Decimal(),
        "flag": fields.Boolean(load_default=False),
        "moment": fields.DateTime(),
        "day": fields.Date(),
        "clock": fields.Time(),
        "span": fields.TimeDelta(),
        "identity": fields.UUID(),
        "address": fields.Url(),
        "mail": fields.Email(),
        "ip": fields.IP(),
        "colour": fields.Enum(Colour, by_value=True),
        "choice": fields.String(validate=validate.OneOf(["one", "two"])),
        "numbers": fields.List(fields.Integer()),
        "mapping": fields.Dict(keys=fields.String(), values=fields.Integer()),
        "box": fields.Nested(Box),
        "boxes": fields.List(fields.Nested(Box)),
        "maybe": fields.Integer(allow_none=True),
        "anything": fields.Raw(),
        "tensor": Tensor(shape=(2, None), dtype="float32"),
        "password": fields.String(load_only=True, metadata={"format": "password"}),
    }

    def predict(self, **arguments):
        return {name: [type(value).__name__, _shown(value)] for name, value in arguments.items()}

    def train(self, run):
        """Ends at once, without weights."""
        return {"numpy": np.float32(1.5), "nan": float("nan")}


def _shown(value):
    return value.value if isinstance(value, enum.Enum) else value
