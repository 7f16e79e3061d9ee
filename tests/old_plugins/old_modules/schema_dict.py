"""A dict as response schema, with dicts nested in it; `do` chooses what is handed back."""

import datetime

from webargs import fields, validate

schema = {
    "date": fields.Date(),
    "labels": fields.List(
        fields.Nested(
            {
                "label": fields.Str(required=True, description="its name"),
                "probability": fields.Float(validate=validate.Range(min=0, max=1)),
            }
        )
    ),
    "status": fields.Str(required=True),
}

RESULTS = {
    "good": {"status": "OK", "date": "2026-01-02", "labels": [{"label": "a", "probability": 1}]},
    "refused": {"status": "OK", "labels": [{"label": "a", "probability": "much"}]},
    "incomplete": {"labels": []},
    "unknown": {"status": "OK", "more": 1},
    "text": "no dict at all",
    "object": {"status": "OK", "date": datetime.date(2026, 1, 2)},
}


def get_predict_args():
    return {
        "do": fields.Str(missing="good", enum=list(RESULTS)),
        "accept": fields.Str(
            missing="application/json",
            validate=validate.OneOf(["application/json", "text/plain"]),
        ),
    }


def predict(**kwargs):
    return RESULTS[kwargs["do"]]
