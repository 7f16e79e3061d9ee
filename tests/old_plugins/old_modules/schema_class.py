"""A Schema class as response schema, with hooks in marshmallow 3 signatures."""

import marshmallow
from marshmallow import fields, post_load, pre_load, validates, validates_schema
from webargs import fields as arguments


class Label(marshmallow.Schema):
    label = fields.Str(required=True)
    probability = fields.Float(missing=0.0, description="0 to 1")


class Response(marshmallow.Schema):
    class Meta:
        ordered = True

    status = fields.Str(required=True, description="Model predictions")
    predictions = fields.List(fields.Nested(Label), enum=None)
    total = fields.Int(missing=0, default=0)

    @pre_load
    def lower(self, data, **kwargs):
        return {name.lower(): value for name, value in data.items()}

    @validates("status")
    def one_of_two(self, value):
        if value not in ("OK", "ok"):
            raise marshmallow.ValidationError("neither OK nor ok")

    @validates_schema
    def has_predictions(self, data, **kwargs):
        if not data.get("predictions"):
            raise marshmallow.ValidationError("nothing predicted", "predictions")

    @post_load
    def done(self, data, **kwargs):
        return data


schema = Response

RESULTS = {
    "good": {"STATUS": "OK", "predictions": [{"label": "a"}]},
    "status": {"status": "bad", "predictions": [{"label": "a"}]},
    "empty": {"status": "OK", "predictions": []},
}


def get_predict_args():
    return {"do": arguments.Str(missing="good")}


def predict(**kwargs):
    return RESULTS[kwargs["do"]]
