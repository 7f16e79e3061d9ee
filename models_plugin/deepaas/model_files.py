"""The files that a module's train() wrote and names: they become the run's version.

A module names them by what it returns: a path, or a result with paths in it; or the settings name
the folder in which it keeps its models. Only what the training wrote is taken (`evidence`): modules
echo their arguments, so a path in a result may well be the client's, and no file that a client
names may come out as a model's. Runs in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import math
import os
import stat
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..contract import Run
from ..values import EVENT_FILE_MARK
from .copies import copy, require_room
from .evidence import Evidence, next_tick
from .hearing import Hearing

_MOST_FILES, _MOST_ENTRIES, _DEEPEST = 5000, 100_000, 16
_MOST_VALUES, _DEEPEST_VALUE, _LONGEST_PATH = 1000, 4, 4096
_QUOTES = "'\"`()[]<>"
_MOST_WORDS = 100  # of a text, that may be paths
_MOST_METRICS, _LONGEST_NAME = 100, 200
_NOT_FILES = ("/proc", "/sys", "/dev")  # what is read there is made then, and looks new

_ADVICE = (
    "No files of this training were found, so it makes no weights version. Have train() return the "
    "path of the file that it wrote, or of a folder that it made, or name the model's folder in "
    "the settings: [models.NAME] weights_folder."
)


class ModelFiles:
    """Made when the training begins; `keep` when it has ended."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before: dict[str, tuple[int, ...]] = {}
        self._folder: Path | None = None
        if run.weights_folder is not None:
            self._folder = Path(os.path.realpath(run.weights_folder))
            self._before = {inside: _signature(was) for inside, was in _tree(self._folder)}
        self._began_ns = next_tick()

    def keep(self, result: Any, hearing: Hearing) -> None:
        """Copies what is found into a checkpoint; a note says what has hindered it.

        A result may name what was heard by its last part alone, such as the time stamp in
        `models/<time stamp>`.
        """
        try:
            files = self._files(result, hearing)
            if not files:
                self._run.log(_ADVICE)
                return
            require_room(files.values(), self._run.folder)
            with self._run.checkpoint(self._run.last_step, metrics=metrics_in(result)) as kept:
                for inside, path in files.items():
                    copy(path, kept.weights / inside)
            self._run.log(f"{len(files)} files that the training wrote are kept as its version.")
        except (OSError, ValueError) as error:
            self._run.note(f"Trained, but the files that it wrote could not be kept: {error}")

    def _files(self, result: Any, hearing: Hearing) -> dict[str, Path]:
        """By their path in the version: those of the settings' folder, then those named."""
        evidence = Evidence(hearing, self._began_ns)
        found: dict[str, Path] = {}
        if self._folder is not None:
            self._add(found, self._folder, evidence, self._before)
        for path in paths_in(result, hearing.made):
            if self._may_take(path):
                self._add(found, path, evidence)
        models = {
            inside: path for inside, path in found.items() if EVENT_FILE_MARK not in path.name
        }
        return models or found

    def _add(
        self,
        found: dict[str, Path],
        top: Path,
        evidence: Evidence,
        before: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """What the training wrote below `top`; `before` is what the settings' folder held."""
        taken = set(found.values())
        for inside, now in _tree(top):
            path = top / inside if inside else top
            if stat.S_ISLNK(now.st_mode):
                if evidence.began(now):
                    self._run.log(f"{path} is a link and not kept, but for what it points to.")
                continue
            changed = before is not None and before.get(inside) != _signature(now)
            if path in taken or not evidence.wrote(path, now, top, own=changed):
                continue
            if not os.access(path, os.W_OK):
                continue
            if len(found) >= _MOST_FILES:
                self._run.note(f"Only the first {_MOST_FILES} files of the version are kept.")
                return
            found[_free(inside or top.name, top, found)] = path

    def _may_take(self, path: Path) -> bool:
        """Whatever changes there meanwhile is of others: the server's files, the whole machine."""
        run, server = self._run, self._run.server_folder
        if path in (Path("/"), Path.home()) or any(_within(path, Path(p)) for p in _NOT_FILES):
            return False
        if server is None or _within(path, Path(os.path.realpath(run.folder))):
            return True
        server = Path(os.path.realpath(server))
        return not _within(path, server) and not _within(server, path)


def paths_in(result: Any, made: Collection[str] = ()) -> list[Path]:
    """Existing files and folders that a result names, the links on the way to them resolved."""
    found: dict[Path, None] = {}
    by_name = {os.path.basename(path): path for path in sorted(made)}  # noqa: PTH119 - for speed
    waiting, seen = deque([(result, 0)]), 0
    while waiting and seen < _MOST_VALUES:
        value, depth = waiting.popleft()
        seen += 1
        if isinstance(value, (str, os.PathLike)):
            for text in _texts(value):
                path = _existing(text)
                if path is None and isinstance(text, str):
                    path = _existing(by_name.get(text, ""))
                if path is not None:
                    found[path] = None
        elif depth < _DEEPEST_VALUE:
            if isinstance(value, Mapping):
                waiting.extend((item, depth + 1) for item in list(value.values())[:_MOST_VALUES])
            elif isinstance(value, (list, tuple, set, frozenset)):
                waiting.extend((item, depth + 1) for item in list(value)[:_MOST_VALUES])
    return list(found)


def _texts(value: Any) -> list[Any]:
    """The whole, and the words that look like paths: "The model was saved to /srv/models/7."."""
    if not isinstance(value, str):
        return [value]
    words = value[:_LONGEST_PATH].split()[:_MOST_WORDS]
    words = [word.lstrip(_QUOTES).rstrip(_QUOTES + ".,;:!") for word in words]
    return [value, *(word for word in words if "/" in word)]


def _existing(value: Any) -> Path | None:
    try:
        text = os.fsdecode(value)
        if not text.strip() or len(text) > _LONGEST_PATH:
            return None
        path = Path(os.path.realpath(text))
        return path if path.is_file() or path.is_dir() else None
    except Exception:  # a null byte, a PathLike that is none, a name that is too long
        return None


def metrics_in(result: Any) -> dict[str, float]:
    """The finite numbers of a result's top level; of a Keras history, those of its last epoch."""
    history = getattr(result, "history", None)
    values = result
    if isinstance(history, Mapping):
        values = {name: row[-1] for name, row in history.items() if isinstance(row, list) and row}
    found: dict[str, float] = {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(name, str) and len(name) <= _LONGEST_NAME and len(found) < _MOST_METRICS:
            number = _number(value)
            if number is not None:
                found[name.encode("utf-8", "replace").decode()] = number
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return None
    try:
        number = float(value)
    except Exception:  # an array of many values, say
        return None
    return number if math.isfinite(number) else None


def _tree(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files and links below `top`, by their path in it, or `top` itself as "". Follows no
    link."""
    try:
        now = os.lstat(top)
    except OSError:
        return
    if stat.S_ISREG(now.st_mode):
        yield "", now
        return
    waiting, seen = deque([(Path(), 0)]), 0
    while waiting:
        folder, depth = waiting.popleft()
        try:
            with os.scandir(top / folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > _MOST_ENTRIES:
                return
            inside = folder / entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth < _DEEPEST and entry.name != "__pycache__":
                        waiting.append((inside, depth + 1))
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield str(inside), entry.stat(follow_symlinks=False)
            except OSError:
                continue


def _signature(now: os.stat_result) -> tuple[int, ...]:
    return (now.st_ino, now.st_size, now.st_mtime_ns)


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _free(inside: str, top: Path, taken: Mapping[str, Path]) -> str:
    """A path in the version that no other file has; two folders may hold the same names. What
    archives of versions refuse is replaced: a module that calls its folders by the time, say."""
    plain = os.fsencode(inside).decode("utf-8", "replace")
    plain = plain.replace(":", "-").replace("\\", "-")
    free, number = plain, 1
    while free in taken:
        number += 1
        free = f"{top.name}-{number}/{plain}"
    return free
