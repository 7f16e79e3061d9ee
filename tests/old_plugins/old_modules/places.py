"""Arguments that say where they are looked for."""

from webargs import fields


def get_predict_args():
    return {
        "anywhere": fields.Int(missing=0),
        "several": fields.List(fields.Int(), missing=[]),
        "in_query": fields.Int(missing=0, location="query"),
        "in_querystring": fields.Int(missing=0, location="querystring"),
        "in_form": fields.Int(missing=0, location="form"),
        "in_json": fields.Int(missing=0, location="json"),
        "in_headers": fields.Int(missing=0, location="headers"),
        "X-Tuning": fields.Int(missing=0, location="headers"),
        "in_cookies": fields.Int(missing=0, location="cookies"),
        "in_metadata": fields.Int(missing=0, metadata={"location": "form"}),
    }


def predict(**kwargs):
    return kwargs


def get_train_args():
    return {"anywhere": fields.Int(required=True), "accept": fields.Str(missing="none")}


def train(**kwargs):
    return kwargs
