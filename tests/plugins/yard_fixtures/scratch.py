"""A model that makes temporary files, and leaves them; tests/old_plugins has it as a module."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from marshmallow import fields

NAMES = ("TMPDIR", "TMP", "TEMP")


def places():
    """Every place where this process would make a temporary file, and a file left in it."""
    descriptor, left = tempfile.mkstemp(prefix="left-")
    os.close(descriptor)
    with tempfile.NamedTemporaryFile() as named, tempfile.TemporaryDirectory() as folder:
        found = [tempfile.gettempdir(), *(str(Path(p).parent) for p in (left, named.name, folder))]
    found += [os.environ[name] for name in NAMES]
    shell = subprocess.run(["sh", "-c", "mktemp"], check=True, capture_output=True, text=True)
    found.append(str(Path(shell.stdout.strip()).parent))
    caches = {n: os.environ.get(n) for n in ("TORCHINDUCTOR_CACHE_DIR", "TFHUB_CACHE_DIR")}
    return {"left": left, "places": sorted(set(found)), "caches": caches, "pid": os.getpid()}


def lose():
    """Removes the temporary folder itself, and then wants a file there."""
    shutil.rmtree(tempfile.gettempdir())
    tempfile.mkstemp()


def write(path):
    """Keeps to a path of its own choice, as old modules do."""
    Path(path).write_text("mine")
    return Path(path).read_text()


def fill():
    """Writes as long as the disk takes it, and leaves all of it."""
    with tempfile.NamedTemporaryFile(prefix="left-", delete=False) as file:
        while True:
            file.write(bytes(1 << 20))


def do_it(do, path):
    return {"places": places, "lose": lose, "write": lambda: write(path), "fill": fill}[do]()


class Scratch:
    weights_optional = True
    predict_arguments = {
        "do": fields.String(load_default="places"),
        "path": fields.String(load_default=""),
    }
    train_arguments = {"seconds": fields.Float(load_default=0.0)}

    def predict(self, do, path):
        return do_it(do, path)

    def train(self, run, seconds):
        made = places()
        run.note(made["left"])
        run.phase("training")
        time.sleep(seconds)
        return made
