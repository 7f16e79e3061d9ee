"""A model that takes a while to import, with arguments named as parameters of the server."""

import time

from marshmallow import fields

from modelyard.models_plugin import Model

time.sleep(1.5)


class SlowImport(Model):
    """Says what it was given."""

    weights_optional = True
    train_arguments = {"dataset": fields.String(load_default="none")}
    predict_arguments = {"weights": fields.String(load_default="none")}

    def train(self, run, dataset):
        return {"dataset": dataset}

    def predict(self, weights):
        return weights
