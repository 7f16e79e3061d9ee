"""A run's checkpoints: whole on disk or not there at all. Runs in the run process.

Each is written in a folder with a temporary name, synced, and renamed; then `index.json` says which
is `last` and which `best`. A process killed at any point leaves the previous state, and leftovers
that the next one sweeps. Python 3.8 syntax and library.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..clearing import remove_tree
from ..members import CannotBeKept, check_names, part_from_others, settle_links
from ..models_plugin.contract import Checkpoint
from .paths import DAMAGED, FORMAT, RunPaths, read_json, sync_folder, tree_files, write_json


@dataclass(frozen=True)
class CheckpointItem:
    """One checkpoint in the index; `size` is in bytes, weights and state together."""

    step: int
    metric: float | None
    metrics: dict[str, float | None]
    created_at: str
    size: int


@dataclass(frozen=True)
class CheckpointIndex:
    """checkpoints/index.json. Only `last` and `best` are kept, so `items` has at most two.

    `resumes`: the plugin has asked for `run.resume_from`, so it can go on from `last`.
    """

    last: int | None = None
    best: int | None = None
    items: list[CheckpointItem] = field(default_factory=list)
    resumes: bool = False

    @classmethod
    def read(cls, paths: RunPaths) -> CheckpointIndex:
        """The index as it stands; empty if the run has made no checkpoint."""
        data = read_json(paths.checkpoints_index)
        if data is None:
            return cls()
        items = [CheckpointItem(**item) for item in data["items"]]
        return cls(data["last"], data["best"], items, bool(data.get("resumes")))

    def to_data(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    def item(self, step: int | None) -> CheckpointItem | None:
        return next((item for item in self.items if item.step == step), None)

    def chosen(self) -> tuple[CheckpointItem, str] | None:
        """What is to be published: `best`, without any metric `last`; None without a checkpoint."""
        for step, name in ((self.best, "best"), (self.last, "last")):
            item = self.item(step)
            if item is not None:
                return item, name
        return None


class Checkpoints:
    """Writes the checkpoints of one run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._turn = threading.Lock()
        self._saving: tuple[int, int] | None = None  # the thread that saves, and the step
        paths.checkpoints.mkdir(exist_ok=True)
        self.index = CheckpointIndex.read(paths)
        self._prune()

    def note_resuming(self) -> None:
        """Says, durably, that this plugin goes on from checkpoints. Raises OSError."""
        if not self.index.resumes:
            index = replace(self.index, resumes=True)
            write_json(self._paths.checkpoints_index, index.to_data())
            self.index = index

    @contextmanager
    def save(
        self,
        step: int,
        metric: float | None,
        higher_is_better: bool,
        metrics: Mapping[str, float] | None,
    ) -> Iterator[Checkpoint]:
        """Two folders to fill; when the block ends well the checkpoint is there, durably.

        Links in them have become copies by then. Another thread waits for its turn. Raises OSError
        if it cannot be written, ValueError if `weights` was left empty, or if this thread is saving
        one already, and its child CannotBeKept for what would be missing in a version, or could not
        be taken in again from its archive; then, and if the block raises, the checkpoints are as
        before.
        """
        if self._saving is not None and self._saving[0] == threading.get_ident():
            raise ValueError(
                f"the checkpoint of step {step} was begun within that of step {self._saving[1]}: "
                "end one `with run.checkpoint(...)` before the next"
            )
        with self._turn:
            self._saving = threading.get_ident(), step
            temporary = self._paths.checkpoints / f".{step:010d}.{os.getpid()}.tmp"
            remove_tree(temporary)
            try:
                yield from self._filled(temporary, step)
                now = datetime.now(timezone.utc).isoformat()  # noqa: UP017 - Python 3.8
                item = CheckpointItem(step, number(metric), numbers(metrics), now, 0)
                item = replace(item, size=sync_tree(temporary))
                index = self._with(item, higher_is_better)
                _put(temporary, self._paths.checkpoint(step))
                write_json(self._paths.checkpoints_index, index.to_data())
                self.index = index
            except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
                told = self._missing(temporary, step, error)
                if told is None:
                    raise
                raise FileNotFoundError(told) from error
            finally:
                self._saving = None
                remove_tree(temporary)
            self._prune()

    def _filled(self, temporary: Path, step: int) -> Iterator[Checkpoint]:
        """The two folders, and a look at them when the block has ended well."""
        weights, state = temporary / "weights", temporary / "state"
        self._paths.checkpoints.mkdir(exist_ok=True)
        weights.mkdir(parents=True)
        state.mkdir()
        yield Checkpoint(weights, state)
        state.mkdir(exist_ok=True)
        _settle(step, weights, state)
        if next(tree_files(weights), None) is None:
            raise ValueError(f"the checkpoint of step {step} has no file in its weights folder")

    def _missing(self, temporary: Path, step: int, error: OSError) -> str | None:
        """What the block, or we, did not find of the folders of a checkpoint, and the remedy; None
        if the error is about something else."""
        told = f"the checkpoint of step {step} was not saved"
        for folder in (self._paths.root, self._paths.checkpoints):
            if not folder.is_dir():
                return f"{told}: the run's folder {folder.name} was removed or replaced. {DAMAGED}"
        for folder in (temporary / "weights", temporary / "state"):
            if not folder.is_dir():
                return (
                    f"{told}: its folder `{folder.name}` was removed or replaced. Write into the "
                    "folders that the `with` block gets, and leave them where they are."
                )
        try:
            place = Path(os.fsdecode(error.filename)).parent.relative_to(temporary)
        except (TypeError, ValueError):  # another place, or none
            return None
        return f"{told}: it has no folder `{place}`. Make it first: mkdir(parents=True)."

    def check(self) -> None:
        """Makes the index again if train() has spoilt it. Raises FileNotFoundError if the weights
        that are to be published are not there any more."""
        chosen = self.index.chosen()
        if chosen is None:
            return
        step = chosen[0].step
        if next(tree_files(self._paths.checkpoint(step) / "weights"), None) is None:
            raise FileNotFoundError(
                f"train() has removed the weights of its checkpoint of step {step}. {DAMAGED}"
            )
        try:
            as_known = CheckpointIndex.read(self._paths) == self.index
        except (OSError, ValueError, KeyError, TypeError):
            as_known = False
        if not as_known:
            write_json(self._paths.checkpoints_index, self.index.to_data())

    def _with(self, item: CheckpointItem, higher_is_better: bool) -> CheckpointIndex:
        index = self.index
        best = index.item(index.best if index.best != item.step else None)
        if best is not None and not (self._paths.checkpoint(best.step) / "weights").is_dir():
            best = None  # train() has removed it
        if item.metric is not None and (
            best is None
            or best.metric is None
            or _better(item.metric, best.metric, higher_is_better)
        ):
            best = item
        items = {item.step: item}
        if best is not None:
            items[best.step] = best
        kept = sorted(items.values(), key=lambda kept: kept.step)
        best_step = None if best is None else best.step
        return replace(index, last=item.step, best=best_step, items=kept)

    def _prune(self) -> None:
        """Removes what the index does not name: older checkpoints, leftovers of killed writers."""
        kept = {self._paths.checkpoint(item.step).name for item in self.index.items}
        for folder in self._paths.checkpoints.iterdir():
            if folder.is_dir() and folder.name not in kept:
                remove_tree(folder)


def _settle(step: int, weights: Path, state: Path) -> None:
    for folder in (weights, state):
        try:
            part_from_others(folder)
            settle_links(folder)
            if folder is weights:  # a state never leaves this server
                check_names(folder)
        except CannotBeKept as error:
            raise CannotBeKept(
                f"the checkpoint of step {step} is not saved: in its folder {folder.name}, {error}"
            ) from None
        except PermissionError as error:
            raise CannotBeKept(
                f"the checkpoint of step {step} is not saved: in its folder {folder.name}, "
                f"{Path(os.fsdecode(error.filename)).name!r} may not be read. Give it its owner's "
                "rights: chmod u+rwX."
            ) from None


def _better(metric: float, than: float, higher_is_better: bool) -> bool:
    return metric > than if higher_is_better else metric < than


def number(value: Any) -> float | None:
    """A finite float, or None: NaN is never the best, and no JSON."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values: Mapping[str, Any] | None) -> dict[str, float | None]:
    return {str(name): number(value) for name, value in (values or {}).items()}


def sync_tree(folder: Path) -> int:
    """Makes all under `folder` durable; their size in bytes."""
    size = 0
    for path in tree_files(folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            size += os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync_folder(path)
    return size


def _put(temporary: Path, final: Path) -> None:
    """Moves a whole folder to its name; one that is there already (same step) changes places."""
    if final.exists() and not _exchange(temporary, final):
        # A file system without RENAME_EXCHANGE: for a moment the step has no folder.
        final.rename(temporary.with_suffix(".old"))
    if temporary.exists() and not final.exists():
        temporary.rename(final)
    sync_folder(final.parent)


def _exchange(first: Path, second: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE: two names change places in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_fdcwd, rename_exchange = -100, 2
    return libc.renameat2(at_fdcwd, bytes(first), at_fdcwd, bytes(second), rename_exchange) == 0
