"""Workers of the built-in classifier share one copy of their weights."""

import asyncio
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from modelyard.models_plugin.image_classifier.normalisation import Normalisation  # noqa: E402
from modelyard.models_plugin.image_classifier.weights_file import (  # noqa: E402
    WeightsDescription,
    save_weights,
)
from modelyard.serving.messages import WeightsRef  # noqa: E402

MODEL = "modelyard.models_plugin.image_classifier.plugin:ImageClassifier"


def mapped(pid, path):
    """(Rss, Pss, Private_Dirty) in bytes of a file's mappings in a process."""
    found, here = [0, 0, 0], False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            here = line.endswith(str(path))
        elif here and words[0] in ("Rss:", "Pss:", "Private_Dirty:"):
            found[("Rss:", "Pss:", "Private_Dirty:").index(words[0])] += int(words[1]) * 1024
    return found


async def test_two_workers_have_the_weights_once_in_memory(serve, tmp_path):
    description = WeightsDescription(
        ("a", "b"), Normalisation((0.5,) * 3, (0.5,) * 3), 32, 3, "large", {}
    )
    network = description.build()
    network.start(0)
    folder = tmp_path / "weights" / "w"
    folder.mkdir(parents=True)
    save_weights(folder, network, description)
    size = (folder / "model.safetensors").stat().st_size

    serving = await serve(options={"workers": 2, "threads": 1}, model=MODEL)
    handle = serving.pool.get("model")
    await handle.use_weights(WeightsRef("w", folder))
    assert handle.weights_error is None
    async with asyncio.timeout(60):
        while [worker["state"] for worker in handle.workers] != ["idle", "idle"]:
            await asyncio.sleep(0.05)
    maps = [mapped(worker["pid"], folder / "model.safetensors") for worker in handle.workers]
    for rss, _, dirty in maps:  # each has been through all of them, to warm up, and wrote to none
        assert rss > 0.95 * size and dirty == 0
    assert sum(pss for _, pss, _ in maps) < 1.1 * size
