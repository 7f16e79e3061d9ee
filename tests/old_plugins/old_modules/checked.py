"""A schema with hooks, written for marshmallow 3, that the module runs itself."""

import marshmallow
from marshmallow import fields, post_load, pre_load, validate, validates, validates_schema
from webargs import ValidationError


class Arguments(marshmallow.Schema):
    class Meta:
        ordered = True
        unknown = marshmallow.EXCLUDE

    name = fields.Str(missing="a", validate=validate.Length(min=1))
    low = fields.Int(missing=0)
    high = fields.Int(missing=10)

    @validates("name")
    def no_spaces(self, value):
        if " " in value:
            raise ValidationError("No spaces.")

    @validates("high")
    def positive(self, value, **kwargs):
        if value < 0:
            raise marshmallow.ValidationError("Negative.")

    @validates_schema(skip_on_field_errors=True)
    def ordered_bounds(self, data, **kwargs):
        if data["low"] > data["high"]:
            raise ValidationError("low is above high", "low")

    @pre_load(pass_many=False)
    def strip(self, data, **kwargs):
        return dict(data, name=data.get("name", "a").strip())

    @post_load(pass_many=True)
    def count(self, data, many, **kwargs):
        return dict(data, span=data["high"] - data["low"])


def get_predict_args():
    return Arguments().fields


def predict(**kwargs):
    return Arguments().load(kwargs)


def get_train_args():
    return Arguments().fields


def train(**kwargs):
    return Arguments().load(kwargs)
