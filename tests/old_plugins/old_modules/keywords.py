"""Every keyword that webargs 5 let through, and every kind of field; `predict` tells what came."""

import datetime
import decimal
import uuid

import marshmallow
from marshmallow import fields as plain_fields
from webargs import fields, validate


class Box(marshmallow.Schema):
    left = fields.Int(required=True, description="in pixels")
    label = fields.Str(missing="none")


class Upper(fields.String):
    """A field of a module's own, failing by the old `fail`."""

    default_error_messages = {"lower": "Not in capitals."}

    def _deserialize(self, value, attr, data, **kwargs):
        value = super()._deserialize(value, attr, data, **kwargs)
        if value != value.upper():
            raise self.make_error("lower")
        return value


def _even(number):
    return number % 2 == 0


def _short(text):
    if len(text) > 5:
        raise marshmallow.ValidationError("Too long.")


def get_predict_args():
    return {
        "text": fields.Str(missing="x", description="Any text", example="y", help="loose"),
        "dumped": fields.Str(default="only for dumping"),
        "both": fields.Str(missing="load", default="dump"),
        "called": fields.Str(missing=lambda: "by call"),
        "choice": fields.Str(enum=["one", "two"], missing="one"),
        "numbered": fields.Int(enum=[1, 2, 3], missing=1),
        "inside": fields.Str(missing="b", metadata={"enum": ["a", "b"], "description": "in"}),
        "secret": fields.Str(missing="", format="password"),
        "hidden": fields.Str(load_only=True, missing="", metadata={"format": "password"}),
        "even": fields.Int(missing=2, validate=lambda number: number % 2 == 0),
        "listed": fields.Int(missing=4, validate=[validate.Range(min=1, max=10), _even]),
        "short": fields.Str(missing="a", validate=_short),
        "matching": fields.Str(missing="ab", validate=validate.Regexp("^[ab]+$")),
        "none": fields.Int(missing=None),
        "allowed": fields.Int(allow_none=True, missing=5),
        "upper": Upper(missing="UP"),
        "flag": fields.Bool(missing=False),
        "number": fields.Float(missing=0.5),
        "precise": fields.Decimal(missing=decimal.Decimal("1.5")),
        "moment": fields.DateTime(missing=None),
        "formatted": fields.DateTime(format="%d.%m.%Y", missing=None),
        "day": fields.Date(missing=datetime.date(2026, 1, 2)),
        "span": fields.TimeDelta(missing=datetime.timedelta(seconds=3)),
        "identity": fields.UUID(missing=uuid.UUID(int=1)),
        "address": fields.Url(missing="http://example.org/"),
        "mail": fields.Email(missing="a@example.org"),
        "delimited": fields.DelimitedList(fields.Int(), missing=[1, 2]),
        "barred": fields.DelimitedList(fields.Str(), delimiter="|", missing=None),
        "numbers": fields.List(fields.Float(), missing=[0.1]),
        "mapping": fields.Dict(missing={"a": 1}),
        "typed": fields.Dict(keys=fields.Str(), values=fields.Int(), missing={}),
        "box": fields.Nested(Box, missing=None),
        "boxes": fields.Nested(Box, many=True, missing=[]),
        "nest": fields.Nested({"left": fields.Int(required=True)}, missing=None),
        "anything": fields.Field(missing=None),
        "raw": fields.Raw(missing=None),
        "plain": plain_fields.Str(missing="p", description="marshmallow's own", enum=["p", "q"]),
        "renamed": fields.Int(data_key="other-name", missing=7),
        "with-dash": fields.Int(missing=8),
        "class": fields.Str(missing="a Python keyword"),
        "required_none": fields.Str(required=False, missing=None, description=None),
        "messages": fields.Int(missing=1, error_messages={"invalid": "No number!"}),
    }


def predict(**kwargs):
    return {name: [type(value).__name__, str(value)] for name, value in kwargs.items()}


def get_train_args():
    return {
        "when": fields.DateTime(missing=None, description="Not before"),
        "span": fields.TimeDelta(missing=datetime.timedelta(minutes=1)),
        "mapping": fields.Dict(missing={}),
    }


def train(**kwargs):
    return {name: type(value).__name__ for name, value in kwargs.items()}
