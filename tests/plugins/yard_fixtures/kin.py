"""A model whose trainings can be repeated bit for bit, and exported in odd ways."""

import json
import os
import random
import signal
import tarfile
import time

from marshmallow import fields

from modelyard.models_plugin import Model
from modelyard.schemas.fields import File


class Kin(Model):
    train_arguments = {
        "count": fields.Integer(load_default=5),
        "rate": fields.Float(load_default=0.5),
        "names": fields.List(fields.String(), load_default=list),
        "from_weights": fields.String(load_default=None, allow_none=True),
        "token": fields.String(load_only=True, metadata={"format": "password"}),
        "data": File(load_default=None, allow_none=True),
        "dataset": fields.String(load_default=None, allow_none=True),
        "archive": File(load_default=None, allow_none=True),
        "hurry": fields.Boolean(load_default=False, metadata={"location": "query"}),
    }
    export_formats = ("text", "pair", "sly", "crash", "slow", "stop", "hang", "vast")

    def load(self, weights, device):
        self.values = json.loads((weights / "values.json").read_text())

    def predict(self):
        return self.values

    def train(
        self,
        run,
        count,
        rate,
        names,
        from_weights,
        token="",
        data=None,
        hurry=False,
        dataset=None,
        archive=None,
    ):
        start = float(sum(sum(content) for content in _contents(run, archive)))
        if from_weights is not None:
            start = json.loads((run.weights(from_weights) / "values.json").read_text())[-1]
        chance = random.Random(run.seed)
        values = []
        for step in range(1, count + 1):
            start += rate * chance.random()
            values.append(start)
            run.report(step, value=start)
        with run.checkpoint(step=count) as checkpoint:
            (checkpoint.weights / "values.json").write_text(json.dumps(values))
            (checkpoint.weights / "part.safetensors").write_bytes(b"not really")
        return {"names": names, "token": len(token), "data": data and data.original_filename}

    def export(self, format, folder):
        if format == "crash":
            (folder / "half").write_text("half")
            os.abort()
        if format == "vast":
            with (folder / "holes").open("wb") as file:
                file.truncate(1 << 40)
        if format == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if format in ("slow", "hang"):
            time.sleep(1.0 if format == "slow" else 600.0)
        (folder / "values.txt").write_text(" ".join(map(str, self.values)))
        if format == "pair":
            (folder / "more").mkdir()
            (folder / "more" / "count.txt").write_text(str(len(self.values)))
            (folder / "link").symlink_to("values.txt")
        if format == "sly":
            (folder / "link").symlink_to("/etc/passwd")
        return {"max_difference": 0.125, "samples": 2, "unit": "none"}


def _contents(run, archive):
    """Those of the files of the stored dataset, or of the archive that was sent."""
    if run.dataset is not None:
        return [path.read_bytes() for path in run.dataset.rglob("*") if path.is_file()]
    if archive is None:
        return []
    with archive.open() as file, tarfile.open(fileobj=file) as tar:
        return [tar.extractfile(member).read() for member in tar if member.isfile()]
