"""A model that trains without torch and goes on from its checkpoints."""

import json
import time

from marshmallow import fields

from modelyard.models_plugin import Model
from modelyard.schemas.fields import File


class Stepper(Model):
    train_arguments = {
        "steps": fields.Integer(load_default=30),
        "seconds": fields.Float(load_default=0.01, metadata={"unit": "s"}),
        "archive": File(load_default=None, allow_none=True),
        "mood": fields.String(load_default="", metadata={"location": "headers"}),
        "token": fields.String(load_default=None, metadata={"format": "password"}),
    }

    def train(self, run, steps, seconds, archive, mood, token):
        step = 0
        if run.resume_from is not None:
            step = json.loads((run.resume_from.state / "step.json").read_text())
            run.log(f"went on after step {step}")
        stored = sorted(path.name for path in run.dataset.iterdir()) if run.dataset else None
        run.log(f"uploaded: {archive is not None}, stored: {stored}")
        run.log(f"token of {len(token or '')}")
        while step < steps and not run.should_stop:
            time.sleep(seconds)
            step += 1
            run.report(step, step_again=float(step))
            if step % 5 == 0 or step == steps:
                with run.checkpoint(step) as checkpoint:
                    (checkpoint.weights / "step.json").write_text(json.dumps(step))
                    (checkpoint.state / "step.json").write_text(json.dumps(step))
        return {"step": step}
