"""The run context: what `train(run, ...)` gets. Runs in the run process."""

from __future__ import annotations

import math
import mmap
import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..models_plugin.contract import Checkpoint, Run
from ..models_plugin.redaction import Hide, hidden_in
from ..models_plugin.stored_weights import StoredWeights
from ..models_plugin.values import InvalidData
from ..schemas.states import Phase
from .checkpoints import Checkpoints
from .lineage import read_version
from .messages import LONGEST_MESSAGE, LONGEST_TEXT, RunOrder, cut
from .metrics import LAST_STEP, Point, as_floats, checked_names, checked_step, shown
from .paths import RunPaths, open_to_append, read_json
from .reporting import Reporter
from .watching import Watching

_VERSION_ID = re.compile(r"[0-9a-f]{32}\Z")
_MORE = "More is in the log."
_MOST_NAMES = 10_000  # remembered, of those that were checked


class RunContext(Run):
    """See `contract.Run` for what each member promises."""

    def __init__(self, paths: RunPaths, order: RunOrder, reporter: Reporter) -> None:
        self.id = order.id
        self.folder = paths.plugin
        self.folder.mkdir(exist_ok=True)
        self.seed = order.seed
        self.device = order.device
        self.threads = order.threads
        self.data_root = Path(order.data_root) if order.data_root else None
        self.weights_folder = Path(order.weights_folder) if order.weights_folder else None
        self.server_folder = paths.root.parent.parent
        self.dataset = Path(order.dataset["folder"]) if order.dataset else None
        self._paths = paths
        self._asked_to_resume = False
        self.notes: list[str] = []
        self._watching = Watching(paths, time.time())
        self._order = order
        self._reporter = reporter
        self._queue = reporter.queue
        self._starting = True
        self._names: set[str] = set()
        self._checkpoints = Checkpoints(paths)
        self._tell_best()
        self._stop = stop_byte(paths)
        self.hide: Hide = None
        self._log = open_to_append(paths.log)

    @property
    def resume_from(self) -> Checkpoint | None:  # type: ignore[override]
        # Asking is how a plugin tells that it can go on: nothing is resumed behind the back of one
        # that never asks, for that would train anew.
        item = self._checkpoints.index.item(self._checkpoints.index.last)
        if not self._asked_to_resume:
            self._asked_to_resume = True
            self._checkpoints.note_resuming()
            if self._paths.metrics.exists():  # an earlier attempt's, up to where it was cut off
                self._reporter.resume_after(-1 if item is None else item.step)
        if item is None:
            return None
        folder = self._paths.checkpoint(item.step)
        return Checkpoint(folder / "weights", folder / "state")

    @property
    def should_stop(self) -> bool:
        # A byte shared with the supervisor: no system call, and no signal that a training
        # framework's own handlers might take.
        return self._stop[0] != 0

    @property
    def last_step(self) -> int:
        try:
            return self._queue[-1].step
        except IndexError:
            return self._reporter.progress.step or 0

    def report(self, step: int, **scalars: float) -> None:
        # What is wrong is told now: the writing thread could tell nobody. The usual case (an int,
        # floats, names seen before) costs 0.25 µs.
        if type(step) is not int or not 0 <= step <= LAST_STEP:
            step = checked_step(step)
        if not scalars.keys() <= self._names:
            scalars = self._named(scalars)
        for name, value in scalars.items():
            if type(value) is not float or type(name) is not str:
                # Now, not in the writing thread: a tensor may have changed by then.
                scalars = as_floats(scalars)
                break
        if self._starting:
            self.phase(Phase.TRAINING.value)
        self._queue.append(Point(step, time.time(), scalars))

    def _named(self, scalars: dict[str, float]) -> dict[str, float]:
        """The scalars by names that may be told. ValueError if one is too long, or no UTF-8."""
        checked_names(scalars)
        if self.hide is not None:
            told = {self.hide(str.__str__(name)): value for name, value in scalars.items()}
            if told.keys() != scalars.keys():
                return told  # not remembered: to be looked at each time
        if len(self._names) > _MOST_NAMES:
            self._names.clear()
        self._names.update(scalars)
        return scalars

    def log(self, message: str) -> None:
        if self.hide is not None:
            message = self.hide(str(message))
        with suppress(Exception):  # the plugin may have closed or replaced it
            sys.stdout.flush()  # what was printed before stands before
        # One write on O_APPEND: lines of several processes do not mix.
        os.write(self._log, f"{message}\n".encode(errors="replace"))

    def note(self, message: str) -> None:
        message = str(message)
        self.log(message)
        if self.notes and self.notes[-1] == _MORE:
            return
        message = message if self.hide is None else self.hide(message)
        left = LONGEST_MESSAGE - len("\n".join([*self.notes, "", _MORE]))
        self.notes.append(cut(message, left))
        if len(message) > left:
            self.notes.append(_MORE)

    def watch(self, folder: str | os.PathLike[str]) -> None:
        refused = self._watching.add(folder)
        if refused is not None:
            self.log(f"{os.fsdecode(folder)} is not shown in TensorBoard: {refused}.")

    def progress(self, done: float, total: float, text: str = "") -> None:
        shown_text = cut(str(text) if self.hide is None else self.hide(str(text)), LONGEST_TEXT)
        told = (_finite("done", done), _finite("total", total), shown_text)
        self._reporter.training_at = None  # a plugin that speaks names its phase itself
        now = self._reporter.progress
        now.done, now.total, now.text = told
        self._reporter.changed()

    def phase(self, name: str) -> None:
        if name not in (Phase.TRAINING.value, Phase.EVALUATING.value):
            raise ValueError(f'phase() takes "training" or "evaluating", not {name!r}')
        self._starting = False
        self._reporter.enter(name)

    def checkpoint(
        self,
        step: int,
        metric: float | None = None,
        higher_is_better: bool = True,
        metrics: Mapping[str, float] | None = None,
    ) -> AbstractContextManager[Checkpoint]:
        told = None if metrics is None else hidden_in(dict(metrics), self.hide)
        checked_names(map(str, told or ()))
        return self._saving(checked_step(int(step)), metric, higher_is_better, told)

    @contextmanager
    def _saving(
        self,
        step: int,
        metric: float | None,
        higher_is_better: bool,
        metrics: Mapping[str, float] | None,
    ) -> Any:
        with self._checkpoints.save(step, metric, higher_is_better, metrics) as checkpoint:
            yield checkpoint
            self._reporter.flush()  # what led here is on disk before it: a kill leaves no gap
        self._tell_best()
        self._reporter.changed()

    def check_checkpoints(self) -> None:
        """When train() has returned: see `Checkpoints.check`."""
        self._checkpoints.check()

    def _tell_best(self) -> None:
        index = self._checkpoints.index
        best = index.item(index.best)
        if best is not None:
            told = {name: asdict(best)[name] for name in ("step", "metric", "metrics")}
            self._reporter.progress.best = told

    def weights(self, version: str) -> Path:
        version_id = self._order.weights.get(version, version)
        if not _VERSION_ID.match(version_id):
            raise InvalidData(
                f"there are no weights named {version!r} for this model: ask for the id of a "
                "version, or an alias that it had when this training was started"
            )
        root = Path(self._order.weights_root or "")
        manifest = read_json(root / version_id / "manifest.json") if root.name else None
        if manifest is None or manifest.get("model") != self._order.model:
            model = self._order.model
            raise InvalidData(
                f"the weights version {version_id} of {model} is not on this server's disk. If the "
                "shared store has it, start the training with its id (or alias) as the value of an "
                "argument, and it is brought here first; or bring it with "
                f"`modelyard weights pull {model} {version_id}`. Versions that there are: "
                f"`modelyard weights {model}`"
            )
        folder = root / version_id / "files"
        StoredWeights(folder).open()
        read_version(self._paths, version, version_id)
        return folder


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"progress({name}=...) takes a finite number, not {shown(value)}")
    return number


def stop_byte(paths: RunPaths) -> mmap.mmap:
    """The byte through which the supervisor asks this process to stop; made if it is not there."""
    descriptor = os.open(paths.stop, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.fstat(descriptor).st_size == 0:
            os.pwrite(descriptor, b"\0", 0)
        return mmap.mmap(descriptor, 1, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(descriptor)
