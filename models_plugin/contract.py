"""The native contract: what a model author writes, and what a training gets to work with.

A plugin is any object with these names: usually an instance of a class that derives from `Model`
(the entry point may name the class: it is called without arguments). Schemas are marshmallow
schemas: a class, an instance, or a dict of fields; where they change (say, choices read from a
folder) write a method of that name that returns one.

    class Doubler(Model):
        predict_arguments = {"x": fields.Float(required=True)}

        def predict(self, x):
            return {"twice": 2 * x}

Every method runs in the model's worker process, except `train`, which runs in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar


class Checkpoint:
    """Two folders to write in, inside `with run.checkpoint(...) as checkpoint`.

    What is in `weights` becomes the weights version if this checkpoint is chosen; `state` is for
    what only a resumed training needs (optimizer, schedule, random states) and is never published.
    """

    def __init__(self, weights: Path, state: Path) -> None:
        self.weights = weights
        self.state = state


class Run:
    """A training as its plugin sees it: where to report, save, and ask whether to stop.

    Made by the server and handed to `train` as the first argument, in the run process.

    - `id`: 32 hex digits.
    - `folder`: a folder of this run for anything the plugin wants to keep; kept with the run.
    - `seed`: int, the same for every attempt of this run.
    - `device`: `"cpu"`, `"cuda"` or `"cuda:N"`, assigned by the server.
    - `threads`: how many CPU threads this run may use.
    - `dataset`: the folder with the files of the stored dataset that the run was started with, or
      None; read only: others use it too.
    - `data_root`: the server's `--data` folder, or None.
    - `weights_folder`: the folder that the settings name for this model (`[models.NAME]
      weights_folder`), or None.
    - `server_folder`: the server's own folder, which is no business of a model; None if unknown.
    - `resume_from`: the last checkpoint of an earlier attempt of this run, or None: to start anew.
      A plugin that reads it says that it can go on from its checkpoints: read it before the first
      step, and a run that is paused, killed or cut off by a power failure goes on from `last`.
      Runs of other plugins end there. Its folders are there until the next checkpoint is saved.
    """

    id: str
    folder: Path
    seed: int
    device: str
    threads: int
    data_root: Path | None
    dataset: Path | None = None
    weights_folder: Path | None = None
    server_folder: Path | None = None
    resume_from: Checkpoint | None = None

    @property
    def should_stop(self) -> bool:
        """True once the run is to end: save what is needed and return. Costs about 1 µs."""
        raise NotImplementedError

    @property
    def last_step(self) -> int:
        """The step that was reported last, 0 before any."""
        raise NotImplementedError

    def report(self, step: int, **scalars: float) -> None:
        """Records numbers of one step; seen in TensorBoard, `/metrics` and `/events`.

        Cheap enough for every step: it queues, and a thread writes in batches. Raises ValueError
        if `step` is no integer from 0 to 2**63 - 1, a name is longer than 200 characters or has no
        UTF-8, or a value is no number (NaN and infinity are, and shown as null).
        """
        raise NotImplementedError

    def log(self, message: str) -> None:
        """Writes one line to the run's log."""
        raise NotImplementedError

    def note(self, message: str) -> None:
        """Writes a line to the log, and to the run's record as its message if the run ends well.

        The record has the first 10 000 characters of all notes.
        """
        raise NotImplementedError

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Tells how far the run is, in any unit (`run.progress(epoch, epochs)`).

        May be used while the data are read, too: it does not begin the phase `training`. Of `text`
        the first 1000 characters are shown. Raises ValueError if a number is not finite.
        """
        raise NotImplementedError

    def phase(self, name: str) -> None:
        """Says which phase begins: `"training"` or `"evaluating"`.

        Call `phase("training")` when the data are read and the first step comes,
        `phase("evaluating")` when all steps are made and a checkpoint holds the result.

        Until then the phase is `starting`. The first `report` implies `training`; `progress` does
        not, for data are read with progress too. A plugin that has called none of the three
        within a second of the begin of `train` is shown as `training`.
        """
        raise NotImplementedError

    def checkpoint(
        self,
        step: int,
        metric: float | None = None,
        higher_is_better: bool = True,
        metrics: Mapping[str, float] | None = None,
    ) -> AbstractContextManager[Checkpoint]:
        """A checkpoint, whole on disk when the `with` block ends, or not there at all.

        It becomes `last`, and `best` too if `metric` is the best so far. Older ones that are
        neither are removed. When the run ends, `best` (without any metric: `last`) is published
        as a weights version with `metrics`. One at a time: another thread waits for its turn, a
        block within another raises ValueError, as do steps and names that `report` refuses.
        """
        raise NotImplementedError

    def watch(self, folder: str | os.PathLike[str]) -> None:
        """Shows the event files below this folder in TensorBoard, as runs below this run's name.

        For a training that writes them in a folder of its own. The folder may come later; what is
        told twice is shown once; files from before this run are left out. A folder that holds the
        server's own files (`/`, say) is refused with a line in the log. Raises OSError if the run's
        folder cannot be written.
        """
        raise NotImplementedError

    def weights(self, version: str) -> Path:
        """The folder of a weights version of this model, to fine-tune from: read only.

        Raises `InvalidData` if there is no such version, an error if its files are not what they
        were; `"latest"` is a name too.
        """
        raise NotImplementedError


class Model:
    """A model to serve. Every name is optional; what is missing is answered with 501."""

    metadata: ClassVar[Any] = {}
    """A dict of JSON values, or a method that returns one: `summary`, `author`, `license`, ..."""

    predict_arguments: ClassVar[Any] = {}
    predict_response: ClassVar[Any] = None
    train_arguments: ClassVar[Any] = {}
    train_response: ClassVar[Any] = None
    weights_optional: ClassVar[bool] = False
    """True if the model can predict without any trained weights (`load(None, device)`)."""

    export_formats: ClassVar[Any] = ()
    """Names of the formats that `export` can write, such as ("onnx",)."""

    max_batch: ClassVar[int] = 32
    """The most calls handed to `predict_batch` at once."""

    def load(self, weights: Path | None, device: str) -> None:
        """Makes ready to predict with the files in `weights` (None: without trained weights).

        They are the stored version itself, read only: what is to be written goes elsewhere.
        """

    def warm(self) -> None:
        """Runs once after `load`, before the first call is answered: a first forward, say."""

    # Optional, and so not defined here:
    #   def predict(self, **arguments) -> Any: one call's answer; JSON values, numpy, ReturnedFile.
    #   def predict_batch(self, calls: list[dict]) -> list: many calls' answers, in order.
    #   def train(self, run: Run, **arguments) -> Any: trains; what it returns is in the record
    #       (more than 1 MiB of JSON: in output.json in the run's folder, which the record names).
    #   def export(self, format: str, folder: Path) -> dict: writes the weights that `load` got as
    #       files of one of `export_formats`; returns {"max_difference": float, "samples": int}: the
    #       largest difference to the original's answers on so many sample inputs.
    #   def read_dataset(self, folder: Path) -> dict: looks at a dataset that was stored, before any
    #       training: {"splits", "classes", "counts", "sizes"} as it likes (JSON), and "problems":
    #       [{"file", "line", "message", "level"}], a level being "error", "warning" or "note".
