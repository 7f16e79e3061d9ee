"""A model that does to its weights folder, while it loads them, what its training was told."""

from marshmallow import fields

from modelyard.models_plugin import Model


class Scribbler(Model):
    train_arguments = {"load": fields.String(load_default="read")}

    def train(self, run, load):
        with run.checkpoint(1) as checkpoint:
            (checkpoint.weights / "inner").mkdir()
            (checkpoint.weights / "inner" / "data.bin").write_bytes(b"x" * 1000)
            (checkpoint.weights / "load").write_text(load)

    def load(self, weights, device):
        data, how = weights / "inner" / "data.bin", (weights / "load").read_text()
        if how == "overwrite":
            with data.open("r+b") as file:
                file.write(b"y")
        elif how == "replace":
            (weights / "inner" / "new").write_bytes(b"y" * 1000)
            (weights / "inner" / "new").rename(data)
        elif how == "remove":
            data.unlink()

    def predict(self):
        return {}
