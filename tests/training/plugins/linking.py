"""A model whose checkpoints hold links, pipes and odd names, as its arguments tell."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from marshmallow import fields

from modelyard.models_plugin.contract import Model


class Linking(Model):
    train_arguments = {"what": fields.String(), "where": fields.String(load_default="weights")}

    def train(self, run, what, where):
        with run.checkpoint(1, metric=0.1) as checkpoint:
            (checkpoint.weights / "good.txt").write_text("good")
        with run.checkpoint(2, metric=0.2) as checkpoint:
            (checkpoint.weights / "good.txt").write_text("better")
            put(what, getattr(checkpoint, where))
        return {}


def put(what: str, folder: Path) -> None:
    """Makes what is wrong, or well, below `folder`."""
    inner = folder / "inner"
    inner.mkdir()
    if what == "snapshot":  # as a hub's client keeps them
        (folder / "blobs").mkdir()
        (folder / "blobs" / "aa").write_text("the weights")
        (folder / "snapshots" / "1").mkdir(parents=True)
        (folder / "snapshots" / "1" / "model.bin").symlink_to("../../blobs/aa")
        (folder / "latest").symlink_to("snapshots/1")
        (folder / "absolute").symlink_to(folder / "latest" / "model.bin")
    elif what == "out":
        (inner / "odd").symlink_to("/etc/hostname")
    elif what == "nothing":
        (inner / "odd").symlink_to("none")
    elif what == "itself":
        (inner / "odd").symlink_to("odd")
    elif what == "circle":
        (inner / "odd").symlink_to("..")
    elif what == "many":
        for depth in range(30):
            level = folder / f"level{depth}"
            level.mkdir()
            for side in "ab":
                (level / side).symlink_to(f"../level{depth + 1}")
        (folder / "level30").mkdir()
        (folder / "level30" / "odd").write_text("x")
    elif what == "pipe":
        os.mkfifo(inner / "odd")
    elif what == "socket":
        here = Path.cwd()
        os.chdir(inner)  # the path of a socket has 108 bytes
        socket.socket(socket.AF_UNIX).bind("odd")
        os.chdir(here)
    else:
        Path(os.fsdecode(os.fsencode(inner) + b"/" + os.fsencode(what))).write_text("x")
