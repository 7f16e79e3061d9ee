"""Rarer fields, validators and hooks of marshmallow 3 and webargs 5, as modules use them."""

import marshmallow
from marshmallow import Schema, fields as plain, post_load, pre_load, validates_schema
from webargs import core, dict2schema, fields, missing, validate


class Point(Schema):
    x = fields.Int(required=True)
    y = fields.Int(missing=0)

    class Meta:
        strict = True
        ordered = True

    @pre_load
    def no_keywords(self, data, many, partial):
        return dict(data)

    @post_load
    def made(self, data, many=None, partial=None):
        return {**data, "made": True}


class Bounds(Schema):
    low = fields.Int(missing=0)
    high = fields.Int(missing=1)

    @validates_schema
    def right_way_up(self, data, many, partial):
        if data["low"] > data["high"]:
            raise marshmallow.ValidationError("upside down", field_names=["low"])


class Positional(plain.Field):
    """Takes what it is given and any keyword, converts without `**kwargs`."""

    def __init__(self, *args, unit="px", **kwargs):
        self.unit = unit
        super().__init__(*args, **kwargs)

    def _deserialize(self, value, attr, data, **kwargs):
        if not str(value).endswith(self.unit):
            self.fail("invalid")
        return int(str(value)[: -len(self.unit)])

    default_error_messages = {"invalid": "No length."}


class Odd(validate.Validator):
    def __call__(self, value):
        if value % 2 == 0:
            raise validate.ValidationError("Even.")
        return value


def get_predict_args():
    return {
        "length": fields.Str(missing="abc", validate=validate.Length(equal=3)),
        "none_of": fields.Str(missing="a", validate=validate.NoneOf(["x"])),
        "labelled": fields.Str(
            missing="a", validate=validate.OneOf(choices=["a", "b"], labels=["A", "B"])
        ),
        "only": fields.List(
            fields.Str(), missing=["a"], validate=validate.ContainsOnly(["a", "b"])
        ),
        "tags": fields.List(fields.Str(), missing=["a"], enum=["a", "b"]),
        "odd": fields.Int(missing=1, validate=Odd()),
        "range": fields.Float(missing=0.5, validate=validate.Range(0, 1, max_inclusive=False)),
        "strict": fields.Int(missing=1, strict=True),
        "truthy": fields.Boolean(missing=False, truthy={"on"}, falsy={"off"}),
        "pair": fields.Tuple((fields.Int(), fields.Str()), missing=(1, "a")),
        "time": fields.Time(missing=None),
        "size": Positional(missing=None, unit="cm", description="With its unit"),
        "point": fields.Nested(Point, missing=None, description="A point"),
        "later": fields.Nested(lambda: Point(), missing=None),
        "named": fields.Nested("Point", missing=None),
        "instance": fields.Nested(Point(many=True), missing=[]),
        "part": fields.Nested(Point, only=("x",), missing=None),
        "bounds": fields.Nested(Bounds, missing=None),
        "made": fields.Nested(dict2schema({"a": fields.Int(missing=1)}), missing=None),
        "core": fields.Nested(core.dict2schema({"a": fields.Int()}), missing=None, many=True),
        "weights": fields.Str(missing="own", description="A file of the module's own"),
        "device": fields.Str(missing="cpu"),
        "dataset": fields.Str(missing="own"),
        "limit": fields.Int(missing=3),
        "no_default": fields.Str(missing=missing),
        "only_out": fields.Str(dump_only=True),
        "by_attribute": fields.Str(missing="x", attribute="renamed"),
    }


def predict(*args, **kwargs):
    return {name: repr(value) for name, value in kwargs.items()}


def get_train_args():
    return {
        "weights": fields.Str(missing="own"),
        "device": fields.Str(missing="cpu"),
        "dataset": fields.Str(missing="own"),
        "max_seconds": fields.Int(missing=1000),
        "name": fields.Str(missing="own"),
    }


def train(**kwargs):
    return kwargs
