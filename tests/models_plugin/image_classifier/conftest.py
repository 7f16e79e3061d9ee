"""Real runs in real folders, and small data sets of real picture files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelyard.models_plugin.contract import Checkpoint
from modelyard.models_plugin.image_classifier.arguments import TrainArguments
from modelyard.models_plugin.image_classifier.demo_data import write_digits
from modelyard.models_plugin.image_classifier.plugin import ImageClassifier
from modelyard.training.checkpoints import CheckpointIndex
from modelyard.training.context import RunContext
from modelyard.training.messages import RunOrder
from modelyard.training.metrics import Point
from modelyard.training.paths import RunPaths, read_json, write_json
from modelyard.training.reporting import Reporter

MODEL = "image-classifier"


class RealRun(RunContext):
    """A run in a folder of its own, as the run process makes it.

    `stop_at`: a step after which it is to stop; `on_step`: called with each step that is reported;
    `points` and `saved` are what was reported, and the steps of checkpoints.
    """

    def __init__(
        self,
        root: Path,
        stop_at: int | None = None,
        on_step: Callable[[int], None] | None = None,
        **order: Any,
    ) -> None:
        root.mkdir(parents=True)
        self.paths = RunPaths(root)
        self.reporter = Reporter(self.paths)
        self.stop_at, self.on_step = stop_at, on_step
        self.saved: list[int] = []
        self.points: list[Point] = []
        values = {"id": "0" * 32, "model": MODEL, "source": {}, **order}
        super().__init__(self.paths, RunOrder(**values), self.reporter)

    def report(self, step: int, **scalars: float) -> None:
        super().report(step, **scalars)
        self.points.append(Point(step, 0.0, scalars))
        if step == self.stop_at:
            self.stop()
        if self.on_step is not None:
            self.on_step(step)

    def checkpoint(self, step: int, *args: Any, **named: Any) -> AbstractContextManager[Checkpoint]:
        self.saved.append(step)
        return super().checkpoint(step, *args, **named)

    def stop(self) -> None:
        """As the supervisor does it."""
        descriptor = os.open(self.paths.stop, os.O_RDWR)
        os.pwrite(descriptor, b"\1", 0)
        os.close(descriptor)

    @property
    def index(self) -> CheckpointIndex:
        return CheckpointIndex.read(self.paths)

    @property
    def published_weights(self) -> Path:
        """Of the checkpoint that would be published."""
        chosen = self.index.chosen()
        assert chosen is not None
        return self.paths.checkpoint(chosen[0].step) / "weights"

    def values(self, name: str) -> list[float]:
        return [point.values[name] for point in self.points if name in point.values]

    def log_text(self) -> str:
        return self.paths.log.read_text()


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., RealRun]]:
    made: list[RealRun] = []

    def make(**order: Any) -> RealRun:
        run = RealRun(tmp_path / f"run{len(made)}", **order)
        made.append(run)
        return run

    yield make
    for run in made:
        run.reporter.close()


def train(run: RealRun, **arguments: Any) -> dict[str, Any]:
    """Through the schema, as a request would be."""
    return ImageClassifier().train(run, **TrainArguments().load(arguments))


@pytest.fixture(name="train")
def train_fixture() -> Callable[..., dict[str, Any]]:
    return train


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo data; its parent is a data root."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    write_digits(folder)
    return folder


def stripes(horizontal: bool, number: int, side: int = 8) -> Image.Image:
    """A grey picture whose class is its direction; each number makes another one."""
    noise = np.random.default_rng(number * 2 + horizontal)
    pixels = noise.integers(0, 60, (side, side))
    pixels[number % 2 :: 2] += 180
    return Image.fromarray((pixels if horizontal else pixels.T).astype(np.uint8))


def write_stripes(root: Path, splits: Mapping[str, int], **options: Any) -> Path:
    """Class-per-folder with so many pictures of each of the two classes."""
    number = 0
    for split, count in splits.items():
        for name in ("across", "down"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for _ in range(count):
                number += 1
                stripes(name == "across", number, **options).save(folder / f"{number}.png")
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with the data set `stripes`: 16 train, 4 val and 4 test pictures a class."""
    write_stripes(tmp_path / "root" / "stripes", {"train": 16, "val": 4, "test": 4})
    return tmp_path / "root"


@pytest.fixture
def publish(tmp_path: Path) -> Callable[[RealRun], dict[str, Any]]:
    """Makes a run's chosen weights a version; what another run's order needs to find it."""

    def make(run: RealRun) -> dict[str, Any]:
        version = "ab" * 16
        folder = tmp_path / "weights" / version
        shutil.copytree(run.published_weights, folder / "files")
        write_json(folder / "manifest.json", {"id": version, "model": MODEL})
        assert read_json(folder / "manifest.json") is not None
        return {"weights_root": str(tmp_path / "weights"), "weights": {"latest": version}}

    return make
