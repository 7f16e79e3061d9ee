"""A module that keeps its trainings as folders and offers them as choices of `model`."""

import os
import time

from webargs import fields

from . import paths


def get_train_args():
    return {"do": fields.Str(missing="path"), "name": fields.Str(missing="one")}


def get_predict_args():
    return {
        "model": fields.Str(
            missing="none",
            enum=[*paths.folders(paths.MODELS), "none"],
            description="Which training",
        )
    }


def predict(model):
    if model == "none":
        return {"model": None}
    return {"model": model, "files": sorted(os.listdir(paths.MODELS / model))}


def train(do, name):
    folder = paths.MODELS / (time.strftime("at-%Y%m%d%H%M%S") if do == "timestamp" else name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.h5").write_bytes(b"weights of " + name.encode())
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "conf.json").write_text("{}")
    if do == "linked":
        (folder / "again.h5").symlink_to("weights.h5")
    return {
        "path": str(folder),
        "linked": str(folder),
        "named": {"modelname": name},
        "sentence": f"The model was saved to {folder}",
        "timestamp": {"status": "ok"},
    }[do]
