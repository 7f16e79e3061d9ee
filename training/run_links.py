"""The folder that TensorBoard reads: HOME/tensorboard/<model>/<run id>. Runs in the server.

For most runs that is a link to the run's events folder. For one that watches other folders too it
is a folder of links to the event files themselves: TensorBoard walks into every folder, through
symbolic links too and in circles, so it gets none that somebody else may fill.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..models_plugin.values import EVENT_FILE_MARK
from .messages import RunOrder, Watched
from .paths import RunPaths, read_json
from .watching import event_files

_NS = 10**9
_BEGAN = re.compile(EVENT_FILE_MARK + r"\.(\d{1,12})\b")
"""All writers put the second in which the file was begun behind the mark."""


class RunLinks:
    """One entry a run, ended and running. What it makes can be removed: it is made again."""

    def __init__(self, runs: Path, folder: Path) -> None:
        self._runs = runs
        self._folder = folder
        self._models: dict[str, str] = {}
        self._settled: dict[str, tuple[int, int]] = {}

    def refresh(self) -> None:
        """Shows new runs and new event files, and drops removed runs.

        Blocking: for an ended run two stat calls, for one that goes on a look into its folders.
        """
        present = {path.name for path in self._runs.iterdir()} if self._runs.exists() else set()
        for name in present:
            with suppress(OSError):  # a full disk, say: tried again
                self._show(RunPaths(self._runs / name))
        for entry in self._folder.glob("*/*"):
            if entry.name not in present:
                _remove(entry)
        for name in self._models.keys() - present:
            self._models.pop(name)
            self._settled.pop(name, None)

    def _show(self, paths: RunPaths) -> None:
        times = began, ended = _changed_ns(paths.epoch), _changed_ns(paths.exit)
        if self._settled.get(paths.id) == times:
            return
        model = self._model(paths)
        if model is None:
            return
        place = self._folder / model / paths.id
        place.parent.mkdir(parents=True, exist_ok=True)
        watched = _watched(paths)
        over = bool(ended) and ended >= began
        if watched is None:
            if not os.path.lexists(place):
                # Relative: a home that is moved or mounted elsewhere keeps its links.
                place.symlink_to(os.path.relpath(paths.events, place.parent))
        else:
            _mirror(place, dict(_files(paths, watched, ended if over else None)))
        if over:
            self._settled[paths.id] = times

    def _model(self, paths: RunPaths) -> str | None:
        if paths.id not in self._models:
            try:
                data = read_json(paths.run)
            except ValueError:
                return None
            if data is None:
                return None
            self._models[paths.id] = RunOrder.from_data(data).model
        return self._models[paths.id]


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _watched(paths: RunPaths) -> Watched | None:
    try:
        data = read_json(paths.watched)
    except ValueError:
        return None
    return None if data is None else Watched.from_data(data)


def _files(paths: RunPaths, watched: Watched, ended_ns: int | None) -> Iterator[tuple[Path, Path]]:
    """Where each event file is to be shown, below the run's name, and where it is.

    A folder that was watched by its own name is not shown below another's too. Others' files of
    other times are left out: modules write all their runs below one folder.
    """
    for relative, _ in event_files(paths.events):
        yield relative, paths.events / relative
    since_ns = int(watched.since * _NS)
    folders = {name: Path(folder) for name, folder in watched.folders.items()}
    for name, folder in folders.items():
        for relative, status in event_files(folder, set(folders.values())):
            began = _BEGAN.search(relative.name)
            late = ended_ns is not None and began and int(began[1]) * _NS > ended_ns
            if status.st_mtime_ns >= since_ns and not late:
                yield name / relative, folder / relative


def _mirror(place: Path, wanted: dict[Path, Path]) -> None:
    if place.is_symlink():
        place.unlink()
    place.mkdir(exist_ok=True)
    for folder, _, files in os.walk(place):
        for name in files:
            link = Path(folder, name)
            if wanted.get(link.relative_to(place)) != link.readlink():
                link.unlink()
    for relative, file in wanted.items():
        link = place / relative
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def _remove(entry: Path) -> None:
    if entry.is_symlink():
        entry.unlink(missing_ok=True)
    else:
        shutil.rmtree(entry, ignore_errors=True)
