"""A training on the command line, as a plugin of the native contract sees it.

Standard library only, Python 3.8 syntax.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..contract import Checkpoint, Run
from ..values import InvalidData
from .logs import LOG


class CommandRun(Run):
    """Tells in the log what is reported, and keeps what is saved in a folder `run-<id>`.

    `stopping` says whether the user wants it to end.
    """

    def __init__(self, folder: Path, device: str, stopping: Callable[[], bool]) -> None:
        self.id = uuid.uuid4().hex
        self._root = folder / f"run-{self.id[:8]}"
        self.device = device
        self.seed = int(self.id[:7], 16)
        self.threads = os.cpu_count() or 1
        self.data_root = None
        self._stopping = stopping
        self._step = 0

    @property
    def folder(self) -> Path:  # type: ignore[override]
        """Made when it is first asked for: many a training keeps nothing."""
        self._root.mkdir(parents=True, exist_ok=True)
        return self._root

    @property
    def kept(self) -> Path | None:
        """The folder, if there is one."""
        return self._root if self._root.exists() else None

    @property
    def should_stop(self) -> bool:
        return self._stopping()

    @property
    def last_step(self) -> int:
        return self._step

    def report(self, step: int, **scalars: float) -> None:
        self._step = step
        LOG.info("step %s: %s", step, ", ".join(f"{k}={v:.6g}" for k, v in scalars.items()))

    def log(self, message: str) -> None:
        LOG.info("%s", message)

    note = log

    def progress(self, done: float, total: float, text: str = "") -> None:
        if not (math.isfinite(done) and math.isfinite(total)):
            raise ValueError("progress() takes finite numbers")
        LOG.info("%g of %g %s", done, total, text)

    def phase(self, name: str) -> None:
        LOG.info("phase: %s", name)

    @contextmanager
    def checkpoint(
        self,
        step: int,
        metric: float | None = None,
        higher_is_better: bool = True,
        metrics: Mapping[str, float] | None = None,
    ) -> Iterator[Checkpoint]:
        checkpoint = self.folder / f"step-{step}"
        made = Checkpoint(checkpoint / "weights", checkpoint / "state")
        for folder in (made.weights, made.state):
            folder.mkdir(parents=True, exist_ok=True)
        yield made
        LOG.info("checkpoint of step %s: %s", step, checkpoint)

    def watch(self, folder: str | os.PathLike[str]) -> None:
        LOG.info("event files: tensorboard --logdir %s", os.fspath(folder))

    def weights(self, version: str) -> Path:
        raise InvalidData("On the command line there are no weights versions: train on a server.")
