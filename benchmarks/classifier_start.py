"""Warm start of the built-in image classifier: committed record to first reported step."""

import datetime
import random
import tempfile
import time
from pathlib import Path

from PIL import Image
from yard import quartiles, yard

ROUNDS = 6
SETTLE_S = 6.0
"""Between runs: each publishes weights, whose new worker imports torch on the same cores."""


def _write_pictures(root: Path) -> None:
    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = root / "tiny" / split / label
            folder.mkdir(parents=True)
            for number in range(8):
                Image.effect_noise((8, 8), random.randint(20, 90)).save(folder / f"{number}.png")


def measure() -> dict[str, str]:
    """Reading the data, as the classifier itself times it, is told apart."""
    whole, without = [], []
    with tempfile.TemporaryDirectory() as folder:
        _write_pictures(Path(folder))
        with yard("--model-name", "image-classifier", "--data", folder) as server:
            server.wait_ready("image-classifier")
            for _ in range(ROUNDS):
                time.sleep(SETTLE_S)
                arguments = {"dataset": "tiny", "epochs": 1, "batch_size": 4, "threads": 1}
                record = server.ask("POST", "/v2/models/image-classifier/train/", arguments)
                ended = server.wait_run(record)
                series = server.ask("GET", record["links"]["metrics"])["series"]
                first = min(point[1] for points in series.values() for point in points)
                begun = datetime.datetime.fromisoformat(ended["created_at"]).timestamp()
                whole.append((first - begun) * 1000)
                reading_ms = ended["result"]["output"]["seconds"]["reading"] * 1000
                without.append(whole[-1] - reading_ms)
    return {
        "to the first reported step, ms": quartiles(whole),
        "the same without reading the data, ms": quartiles(without),
    }
