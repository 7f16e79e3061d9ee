"""A model whose training is a random walk that goes on from its checkpoints, exactly."""

from __future__ import annotations

import hashlib
import json
import random
import time
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin.contract import Model


class Walking(Model):
    """`fails`: how often the evaluation fails; `bulk`: bytes of each checkpoint's state."""

    train_arguments = {
        "breaks": fields.Integer(load_default=0, metadata={"description": "at half, so often"}),
        "steps": fields.Integer(load_default=20),
        "seconds": fields.Float(load_default=0.02),
        "save_every": fields.Integer(load_default=5),
        "fails": fields.Integer(load_default=0),
        "bulk": fields.Integer(load_default=0),
        "upload": fields.Raw(load_default=None, metadata={"type": "file"}),
        "password": fields.String(load_default=None, metadata={"format": "password"}),
    }

    def train(self, run, steps, seconds, save_every, fails, bulk, upload, password, breaks):
        chance, place, step = random.Random(run.seed), "", 0
        if run.resume_from is not None:
            state = json.loads((run.resume_from.state / "state.json").read_text())
            place, step = state["place"], state["step"]
            version, numbers, gauss = state["chance"]
            chance.setstate((version, tuple(numbers), gauss))
        saved = step

        def save():
            with run.checkpoint(step, metric=float(step)) as checkpoint:
                (checkpoint.weights / "place.txt").write_text(place)
                state = {"place": place, "step": step, "chance": chance.getstate()}
                (checkpoint.state / "state.json").write_text(json.dumps(state))
                (checkpoint.state / "bulk").write_bytes(b"x" * bulk)

        run.phase("training")
        while step < steps and not run.should_stop:
            time.sleep(seconds)
            place = hashlib.sha256(f"{place} {chance.random()}".encode()).hexdigest()
            step += 1
            run.report(step, place=float(int(place[:6], 16)))
            _mark(run.folder / "steps", step)
            if breaks and step == steps // 2 and _count(run.folder / "breaks") <= breaks:
                raise RuntimeError("it broke")
            if step % save_every == 0:
                save()
                saved = step
        if saved != step:
            save()
        if run.should_stop:
            return {}
        run.phase("evaluating")
        _mark(run.folder / "evaluations", step)
        if len((run.folder / "evaluations").read_text().split()) <= fails:
            raise RuntimeError("the evaluation failed")
        return {"place": place, "password": len(password or "")}


def _count(path: Path) -> int:
    _mark(path, 1)
    return len(path.read_text().split())


def _mark(path: Path, step: int) -> None:
    with path.open("a") as file:
        file.write(f"{step} ")
