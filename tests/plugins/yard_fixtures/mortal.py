"""A model for tests that kill: trains exactly over any interruption, with a family that clings."""

import hashlib
import json
import os
import signal
import subprocess
import time

from marshmallow import fields, validate

from modelyard.models_plugin import Model


class Mortal(Model):
    """`kin` are processes that it starts and that do not end by themselves; `bulk` bytes are
    saved with each checkpoint."""

    predict_arguments = {"plus": fields.Integer(load_default=0)}
    train_arguments = {
        "steps": fields.Integer(load_default=20),
        "seconds": fields.Float(load_default=0.02),
        "save_every": fields.Integer(load_default=5),
        "bulk": fields.Integer(load_default=0),
        "evaluating_s": fields.Float(load_default=0.0),
        "deaf": fields.Boolean(load_default=False),
        "kin": fields.String(
            load_default="none", validate=validate.OneOf(["none", "family", "unmarked"])
        ),
        "nonce": fields.String(load_default=""),
    }

    def load(self, weights, device):
        self.walked = json.loads((weights / "walked.json").read_text())
        if place_after(self.walked["steps"], self.walked["nonce"]) != self.walked["place"]:
            raise ValueError("these weights are not what a training leaves")

    def predict(self, plus):
        return {"steps": self.walked["steps"] + plus}

    def train(self, run, steps, seconds, save_every, bulk, evaluating_s, deaf, kin, nonce):
        place, step = "", 0
        if run.resume_from is not None:
            walked = json.loads((run.resume_from.state / "walked.json").read_text())
            place, step = walked["place"], walked["steps"]
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if kin != "none":
            start_kin(kin)
        run.phase("training")

        def save():
            walked = json.dumps({"steps": step, "place": place, "nonce": nonce})
            with run.checkpoint(step, metric=float(step)) as checkpoint:
                (checkpoint.weights / "walked.json").write_text(walked)
                (checkpoint.weights / "bulk").write_bytes(os.urandom(bulk))
                (checkpoint.state / "walked.json").write_text(walked)

        while step < steps and not (run.should_stop and not deaf):
            time.sleep(seconds)
            place = walk(place, nonce)
            step += 1
            run.report(step, loss=1.0 / step)
            if step % save_every == 0 or step == steps:
                save()
        if not run.should_stop:
            run.phase("evaluating")
            time.sleep(evaluating_s)
        return {"place": place}


def walk(place, nonce):
    return hashlib.sha256(f"{place} {nonce}".encode()).hexdigest()


def place_after(steps, nonce):
    """Where an unbroken training is after so many steps."""
    place = ""
    for _ in range(steps):
        place = walk(place, nonce)
    return place


def start_kin(kin):
    """Sleepers that ignore SIGTERM: a child, one in a session of its own, a daemon, a stopped one.
    `unmarked`: a daemon with an empty environment, which nothing of its run can be told by."""

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def daemon():
        deaf()
        os.setsid()
        if os.fork():
            os._exit(0)

    sleep = ["/bin/sleep", "600"]
    if kin == "unmarked":
        subprocess.Popen(sleep, env={}, preexec_fn=daemon)
        return
    subprocess.Popen(sleep, preexec_fn=deaf)
    subprocess.Popen(sleep, preexec_fn=deaf, start_new_session=True)
    subprocess.Popen(sleep, preexec_fn=daemon)
    os.kill(subprocess.Popen(sleep, preexec_fn=deaf).pid, signal.SIGSTOP)
