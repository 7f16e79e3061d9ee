"""A model whose training takes the name of a folder below the data root, and reads nothing."""

from marshmallow import fields

from modelyard.models_plugin.contract import Model


class Reading(Model):
    train_arguments = {"dataset": fields.String(load_default=None, allow_none=True)}

    def train(self, run, dataset):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "weights.txt").write_text("trained")
        return {}
