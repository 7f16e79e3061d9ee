"""A model that trains without torch: counts its steps, and predicts with the count it kept."""

import json
import os
import subprocess
import sys
import time

from marshmallow import fields, validate

from modelyard.models_plugin import InvalidData, Model


class Counter(Model):
    metadata = {"summary": "Counts"}
    predict_arguments = {"plus": fields.Integer(load_default=0)}
    train_arguments = {
        "steps": fields.Integer(load_default=3, validate=validate.Range(min=1, max=100_000)),
        "seconds": fields.Float(
            load_default=0.0, metadata={"unit": "s", "description": "per step"}
        ),
        "start": fields.Integer(load_default=0),
        "end": fields.String(
            load_default="well",
            validate=validate.OneOf(
                ["well", "raise", "exit", "kill", "invalid", "deaf", "family", "unloadable"]
            ),
        ),
        "token": fields.String(load_only=True, metadata={"format": "password"}),
        "loss_at": fields.List(fields.Float()),
        "hold": fields.String(
            load_default="", metadata={"description": "file it waits for before its last step"}
        ),
    }

    def load(self, weights, device):
        self.count = json.loads((weights / "count.json").read_text())["count"]

    def predict(self, plus):
        return {"count": self.count + plus}

    def train(self, run, steps, seconds, start, end, token=None, loss_at=(), hold=""):
        if end == "invalid":
            raise InvalidData("a label is out of range", file="train.txt", line=7)
        if end == "family":
            _family(run)
        print("counting", steps, "steps")
        count = start
        for step in range(1, steps + 1):
            while hold and step == steps and not (run.should_stop or os.path.exists(hold)):  # noqa: PTH110
                time.sleep(0.01)
            if run.should_stop and end != "deaf":
                run.log("asked to stop")
                break
            if seconds:
                time.sleep(seconds)
            count += 1
            run.report(step, loss=1.0 / step, count=count)
            run.progress(step, steps)
            if end == "exit" and step == 2:
                os._exit(7)
            if end == "kill" and step == 2:
                os.kill(os.getpid(), 9)
            if end == "raise" and step == 2:
                raise ValueError("the count went wrong")
        with run.checkpoint(step=steps, metric=count, metrics={"count": count}) as checkpoint:
            text = "" if end == "unloadable" else json.dumps({"count": count})
            (checkpoint.weights / "count.json").write_text(text)
        return {"count": count, "token_length": len(token or "")}


def _family(run):
    """Leaves processes of several kinds behind: a child, one in its own session, a daemon."""
    code = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code])
    apart = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    daemon = subprocess.Popen(
        [sys.executable, "-c", f"import os, time; os.fork() and os._exit(0); os.setsid(); {code}"]
    )
    daemon.wait()
    (run.folder / "family.json").write_text(json.dumps([child.pid, apart.pid]))
