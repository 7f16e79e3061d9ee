"""A trivial module as people wrote them for DEEPaaS: what `bench_models:Trivial` does."""

from webargs import fields


def get_metadata():
    return {"name": "old-trivial", "version": "1"}


def get_predict_args():
    return {"x": fields.Float(required=True, description="a number")}


def predict(**kwargs):
    return {"twice": 2 * kwargs["x"]}
