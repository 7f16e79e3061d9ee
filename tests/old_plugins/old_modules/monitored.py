"""A training that starts its own TensorBoard and writes event files in a folder of its own."""

import os
import subprocess
import time
from multiprocessing import Process

from webargs import fields

from . import paths


def launch_tensorboard(logdir):
    port = int(os.getenv("monitorPORT", 6006))
    subprocess.run(["fuser", "-k", f"{port}/tcp"], check=False)
    subprocess.run(
        ["tensorboard", "--logdir", f"{logdir}", "--port", f"{port}", "--host", "0.0.0.0"],
        check=False,
    )


def get_train_args():
    return {"steps": fields.Int(missing=3), "seconds": fields.Float(missing=0.0)}


def train(steps, seconds):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = paths.BASE / "logs" / time.strftime("%Y-%m-%d_%H-%M-%S")
    process = Process(target=launch_tensorboard, args=(folder,), daemon=True)
    process.start()
    writer = EventFileWriter(str(folder))
    for step in range(steps):
        summary = Summary(value=[Summary.Value(tag="scalars/loss", simple_value=1 / (step + 1))])
        writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
        writer.flush()
        time.sleep(seconds)
    writer.close()
    (folder / "final_model.h5").touch()
    return {"status": "done"}
