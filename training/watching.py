"""Event files that a training writes in folders of its own: which folders, and what is in them.

The run process writes watched.json; the server reads it and looks into the folders, which may be
anybody's: no symbolic link is followed, and a look ends after some thousand entries. Python 3.8
syntax.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path

from ..models_plugin.values import EVENT_FILE_MARK
from .messages import Watched
from .paths import RunPaths, read_json, write_json

_MOST_FOLDERS = 1000  # of one run
_MOST_ENTRIES, _MOST_FILES, _DEEPEST = 20_000, 1000, 8  # of one look
_LONGEST_NAME = 80


class Watching:
    """The folders that one run watches. Any thread may add one."""

    def __init__(self, paths: RunPaths, since: float) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._answers: dict[Path, str | None] = {}
        try:
            self._data = Watched.from_data(read_json(paths.watched) or {"since": since})
        except ValueError:  # damaged: shown anew
            self._data = Watched(since)

    def add(self, folder: str | os.PathLike[str]) -> str | None:
        """Watches the folder from now on; why not, if that cannot be, told once, else None.

        Raises OSError if the run's folder cannot be written.
        """
        place = Path(os.path.realpath(os.fsdecode(folder)))
        with self._lock:
            if place in self._answers:
                return None
            refused = self._refusal(place)
            if refused is None and not self._shown_already(place):
                data = Watched(self._data.since, dict(self._data.folders))
                data.folders[_name(place, data.folders)] = str(place)
                write_json(self._paths.watched, data.to_data())
                self._data = data
            self._answers[place] = refused
            return refused

    def _shown_already(self, place: Path) -> bool:
        folders = [Path(folder) for folder in self._data.folders.values()]
        return any(_within(place, other) for other in (self._paths.events.resolve(), *folders))

    def _refusal(self, place: Path) -> str | None:
        root = self._paths.root.resolve()
        runs, home = root.parent, root.parent.parent
        if _within(home, place):
            return "the server's own files are below it"
        if place == Path("~").expanduser().resolve():
            return "it is a whole home folder"
        own = [path.resolve() for path in (self._paths.plugin, self._paths.events)]
        of_server = _within(place, runs) or _within(place, home / "tensorboard")
        if of_server and not any(_within(place, path) for path in own):
            return "it belongs to the server"
        if len(self._data.folders) >= _MOST_FOLDERS:
            return f"{_MOST_FOLDERS} folders are shown already"
        return None


def _within(place: Path, folder: Path) -> bool:
    return place == folder or folder in place.parents


def _name(place: Path, taken: Collection[str]) -> str:
    """What TensorBoard calls it: the folder's name, with the parent's where that is taken."""
    parent, last = _printable(place.parent.name), _printable(place.name)
    name, number = last, 2
    if name in taken:
        name = f"{parent}-{last}"
    first = name
    while name in taken:
        name, number = f"{first}-{number}", number + 1
    return name


def _printable(name: str) -> str:
    plain = "".join(letter if letter.isprintable() else "_" for letter in name)
    return plain.replace(EVENT_FILE_MARK, "events").lstrip(".")[:_LONGEST_NAME] or "events"


def event_files(
    folder: Path, apart: Collection[Path] = ()
) -> Iterator[tuple[Path, os.stat_result]]:
    """Event files below `folder`, by their path in it; not those below a folder in `apart`."""
    entries = files = 0
    waiting = deque([(Path(), 0)])
    while waiting:
        inside, depth = waiting.popleft()
        try:
            with os.scandir(folder / inside) as scan:
                found = sorted(scan, key=lambda entry: entry.name)
        except OSError:  # gone, or not ours to read
            continue
        for entry in found:
            entries += 1
            relative = inside / entry.name
            if entries > _MOST_ENTRIES or files >= _MOST_FILES:
                return
            try:
                if entry.is_dir(follow_symlinks=False):
                    # TensorBoard would open a folder with the mark as a file.
                    if (
                        depth < _DEEPEST
                        and EVENT_FILE_MARK not in entry.name
                        and folder / relative not in apart
                    ):
                        waiting.append((relative, depth + 1))
                elif EVENT_FILE_MARK in entry.name and entry.is_file(follow_symlinks=False):
                    files += 1
                    yield relative, entry.stat(follow_symlinks=False)
            except OSError:
                continue
