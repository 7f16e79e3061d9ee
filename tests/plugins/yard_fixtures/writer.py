"""A model that writes: versions of megabytes that do not shrink, exports that take their time."""

import random
import time

from marshmallow import fields

from modelyard.models_plugin import Model

PARTS = 12
"""Files of an export."""


class Writer(Model):
    train_arguments = {"size": fields.Integer(load_default=1 << 20, metadata={"unit": "bytes"})}
    export_formats = ("parts", "one")

    def load(self, weights, device):
        self.content = (weights / "content.bin").read_bytes()

    def predict(self):
        return {"size": len(self.content)}

    def train(self, run, size):
        with run.checkpoint(step=1) as checkpoint:
            (checkpoint.weights / "content.bin").write_bytes(random.Random(7).randbytes(size))
        return {}

    def export(self, format, folder):
        """Parts of the content, one after the other, in a file each or all in one."""
        size = -(-len(self.content) // PARTS)
        for number in range(PARTS):
            name = "all" if format == "one" else f"part{number:02d}"
            with (folder / name).open("ab") as file:
                for piece in range(4):
                    start = number * size + piece * (size // 4)
                    end = (number + 1) * size if piece == 3 else start + size // 4
                    file.write(self.content[start:end])
                    file.flush()
                    time.sleep(0.005)
        return {"max_difference": 0.0, "samples": 1}
