"""The pattern of the anomaly detector: a field with a type of its own, loaded a second time.

The default of a field is an object, not text; `List` is given a field class; `unknown = INCLUDE`;
`train` and `predict` load their keywords again with the same schema.
"""

import marshmallow
from marshmallow import INCLUDE, Schema
from webargs import fields


class Range:
    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def __str__(self):
        return f"<{self.begin},{self.end})"

    @classmethod
    def parse(cls, text):
        begin, comma, end = str(text).strip("<>()").partition(",")
        if not comma:
            raise marshmallow.ValidationError(f"no range: {text}")
        return cls(begin, end)


class RangeField(fields.Field):
    def _serialize(self, value, attr, obj, **kwargs):
        return str(value)

    def _deserialize(self, value, attr, data, **kwargs):
        return Range.parse(value)


class TrainArgsSchema(Schema):
    class Meta:
        unknown = INCLUDE

    model_name = fields.Str(required=False, missing="default", description="Name of the model")
    time_range = RangeField(
        required=False,
        missing=Range("2018-01-01", "2019-01-01"),
        description="""
            The time range; e.g., <2018-01-01,2019-01-01)
            """,
    )
    excluded = fields.List(RangeField, required=False, missing=[], description="Ranges to skip")
    window = fields.Str(required=False, missing="1h", enum=["1h", "10m"], description="Window")
    delta = fields.Boolean(required=False, missing=True, enum=[True, False])


class PredictArgsSchema(TrainArgsSchema):
    batch_size = fields.Integer(required=False, missing=1, description="Batch size")


def get_train_args(**kwargs):
    return TrainArgsSchema().fields


def get_predict_args():
    return PredictArgsSchema().fields


def _report(arguments):
    return {
        "status": "ok",
        "model_name": arguments["model_name"],
        "time_range": str(arguments["time_range"]),
        "excluded": [str(each) for each in arguments["excluded"]],
        "types": {name: type(value).__name__ for name, value in arguments.items()},
    }


def train(**kwargs):
    return _report(TrainArgsSchema().load({**kwargs, "full_paths": True}))


def predict(**kwargs):
    print("predict(**kwargs) - kwargs: %s" % (kwargs))
    return _report(PredictArgsSchema().load(kwargs))
