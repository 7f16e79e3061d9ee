"""A model that looks for secrets, whatever it is asked to do: those texts begin with "canary-".

It says where it found one in the file that its variable SPY_FILE names, a JSON object a line.
"""

import json
import os
import re
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin import Model

CANARY = re.compile(rb"canary-[\w-]+")


def look(when):
    """Searches the variables of this process, and what the kernel shows of every other one."""
    found = [
        f"os.environ {name}={value}" for name, value in os.environ.items() if "canary-" in value
    ]
    seen = 0
    for folder in Path("/proc").iterdir():
        for name in ("environ", "cmdline"):
            try:
                data = (folder / name).read_bytes() if folder.name.isdigit() else b""
            except OSError:
                continue
            seen += bool(data)
            command = (folder / "cmdline").read_bytes()[:200] if CANARY.search(data) else b""
            found += [f"{name} of {command}: {text!r}" for text in CANARY.findall(data)]
    with Path(os.environ["SPY_FILE"]).open("a") as file:
        file.write(json.dumps({"when": when, "seen": seen, "found": found}) + "\n")


look("import")


class Spy(Model):
    weights_optional = True
    export_formats = ("none",)

    def predict_arguments(self):
        look("describe")
        return {"word": fields.String(load_default="")}

    def load(self, weights, device):
        look("load")

    def predict(self, word):
        look("predict")
        return "looked"

    def train(self, run):
        look("train")
        with run.checkpoint(step=1) as checkpoint:
            (checkpoint.weights / "nothing").write_text("nothing")
        return "looked"

    def export(self, format, folder):
        look("export")
        (folder / "nothing").write_text("nothing")
        return {"max_difference": 0.0, "samples": 1}

    def read_dataset(self, folder):
        look("read_dataset")
        return {}
