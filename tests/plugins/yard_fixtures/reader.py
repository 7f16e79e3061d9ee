"""Models that read datasets: one with a reader and an argument for them, one with neither."""

import os
import signal

from marshmallow import fields

from modelyard.models_plugin import InvalidData, Model
from modelyard.schemas.fields import File


def content(folder):
    """Every file below a folder, by its path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


class Reader(Model):
    """Reads `labels.csv`, lines of `name,label`; files of other names make its reader misbehave."""

    train_arguments = {
        "dataset": fields.String(load_default=None, allow_none=True),
        "archive": File(load_default=None, allow_none=True),
        "hold": fields.String(load_default=""),
    }

    def read_dataset(self, folder):
        names = {path.name for path in folder.rglob("*")}
        if "kill" in names:
            os.kill(os.getpid(), signal.SIGKILL)
        if "stop" in names:
            os.kill(os.getpid(), signal.SIGSTOP)
        if "raise" in names:
            raise ValueError("the reader went wrong")
        if "nonsense" in names:
            return {"problems": [{"line": 3}]}
        table = folder / "labels.csv"
        if not table.exists():
            raise InvalidData("it is missing", file="labels.csv")
        labels, problems = [], []
        for number, line in enumerate(table.read_text().splitlines(), 1):
            name, comma, label = line.partition(",")
            if comma:
                labels.append(label)
            else:
                told = {"file": "labels.csv", "line": number, "message": f"{name!r} has no label"}
                problems.append({**told, "level": "error"})
        counts = {label: labels.count(label) for label in sorted(set(labels))}
        return {"classes": sorted(set(labels)), "counts": counts, "problems": problems}

    def train(self, run, dataset, archive, hold):
        while hold and not os.path.exists(hold) and not run.should_stop:  # noqa: PTH110
            pass
        uploaded = None if archive is None else archive.original_filename
        stored = None if run.dataset is None else content(run.dataset)
        return {"dataset": dataset, "uploaded": uploaded, "content": stored}


class Lister(Model):
    """Has no argument `dataset`: the server's parameter is all there is."""

    def train(self, run):
        return None if run.dataset is None else content(run.dataset)
