"""Makes temporary files as many old modules do, and leaves them."""

from webargs import fields
from yard_fixtures.scratch import do_it, places


def get_metadata():
    return {"name": "scratch", "summary": "temporary files"}


def get_predict_args():
    return {"do": fields.Str(missing="places"), "path": fields.Str(missing="")}


def predict(**kwargs):
    return do_it(kwargs["do"], kwargs["path"])


def get_train_args():
    return {"seconds": fields.Float(missing=0.0)}


def train(**kwargs):
    return places()
