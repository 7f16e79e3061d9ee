"""What models' libraries keep in the home for their next process, within a bound.

Lies in `cache/MODEL/LIBRARY/`. What of it goes, goes as a whole (renamed into `cache/.gone`, then
removed), so that a `kill -9` in between leaves a library either all of a piece or nothing of it.
It is made or fetched anew when it is wanted again. Runs in the server, its sweeps on a thread; the
doctor measures with it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import stat
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..clearing import remove_tree

log = logging.getLogger(__name__)

GRACE_S = 600.0
"""What was read or written in these last seconds stays: a process may be loading it."""
EVERY_S = 1800.0
LOOK_S = 60.0
"""So often it is looked whether the disk is short of room."""
_FIRST_S = 3.0
"""After a start: its models are loaded first."""
_AHEAD_S = 86_400.0
_GONE = ".gone"
_DEEPER = {"torchinductor": 4}
_DEPTH = 2
"""A piece is what lies so deep below the model's folder, or a file before that. A module of
tensorflow-hub is one, a folder of torch's inductor is many that stand each for itself."""


@dataclass(frozen=True)
class Piece:
    """`size` is what it takes of the disk, in bytes; `used` is in seconds since the epoch."""

    path: Path
    model: str
    size: int
    used: float


@dataclass(frozen=True)
class Swept:
    """`size` is what is there now, in bytes, `removed` what went."""

    size: int
    removed: int


class ModelCaches:
    """Those of one home. `limit` is in bytes, over all models, 0 is none; of the disk, `min_free`
    bytes are to stay free.

    Of the model that has most goes first what was used longest ago (to a day, where the file system
    notes reads once a day), so that no model drives out what a smaller one keeps.
    """

    def __init__(self, folder: Path, limit: int = 0, min_free: int = 0) -> None:
        self._folder = folder
        self._limit = limit
        self._min_free = min_free
        self._ending = threading.Event()
        self._following: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to look now and then, on the running loop."""
        self._following = asyncio.create_task(self._follow())

    def close(self) -> None:
        """Looks no more; a sweep under way ends between two pieces."""
        self._ending.set()
        if self._following is not None:
            self._following.cancel()

    def pieces(self, now: float) -> Iterator[Piece]:
        """All that there are. `now` is time.time's."""
        for model in _entries(self._folder):
            for path in _pieces_of(model) if model.name != _GONE else ():
                size, used = _measured(path)
                # A time that is far ahead would keep it for ever.
                yield Piece(Path(path), model.name, size, used if used < now + _AHEAD_S else 0.0)

    def sweep(self, now: float) -> Swept:
        """Removes what is beyond the limit, and more while the disk is short of room. Raises
        nothing of what a plugin does there meanwhile. Blocking."""
        gone = self._folder / _GONE
        remove_tree(gone)  # what a kill left
        of_model: defaultdict[str, list[Piece]] = defaultdict(list)
        for piece in self.pieces(now):
            of_model[piece.model].append(piece)
        for found in of_model.values():
            found.sort(key=lambda piece: piece.used, reverse=True)
        sizes = {model: sum(piece.size for piece in of) for model, of in of_model.items()}
        size = sum(sizes.values())
        most = max(0, min(self._limit or size, size - self._short()))
        removed = 0
        while size > most and not self._ending.is_set():
            largest = max(sizes, key=lambda model: sizes[model])
            left = of_model[largest]
            if not left or left[-1].used > now - GRACE_S:
                break
            piece = left.pop()
            sizes[largest] -= piece.size
            size -= piece.size
            removed += piece.size if _remove(piece.path, gone) else 0
        remove_tree(gone)
        self._tell(size, removed)
        return Swept(size, removed)

    async def _follow(self) -> None:
        due, pause = 0.0, _FIRST_S
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_S
            try:
                if time.monotonic() >= due or await asyncio.to_thread(self._short) > 0:
                    due = time.monotonic() + EVERY_S
                    await asyncio.to_thread(self.sweep, time.time())
            except Exception:  # of a plugin's making; it is to go on
                log.exception("what models' libraries keep could not be looked at")

    def _short(self) -> int:
        """Bytes that the disk lacks."""
        if not self._min_free or not self._folder.is_dir():
            return 0
        return max(0, self._min_free - shutil.disk_usage(self._folder).free)

    def _tell(self, size: int, removed: int) -> None:
        if removed:
            log.info("removed %d bytes that models' libraries had kept; %d stay", removed, size)
        if self._limit and size > self._limit:
            log.warning(
                "models' libraries keep %d bytes in %s, and what is over was used a moment ago; "
                "%d may be kept (--model-cache)",
                *(size, self._folder, self._limit),
            )


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:  # it has gone, or may not be entered
        return []


def _pieces_of(model: os.DirEntry[str]) -> Iterator[str]:
    if not _is_folder(model):
        yield model.path
        return
    for library in _entries(model.path):
        yield from _at(library, _DEEPER.get(library.name, _DEPTH) - 1)


def _at(entry: os.DirEntry[str], depth: int) -> Iterator[str]:
    if not depth or not _is_folder(entry):
        yield entry.path
        return
    for inner in _entries(entry.path):
        yield from _at(inner, depth - 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _measured(path: str) -> tuple[int, float]:
    """Bytes of the disk, and when it was read or written last; a folder is read by ourselves."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0, 0.0
    size, used = status.st_blocks * 512, status.st_mtime
    if not stat.S_ISDIR(status.st_mode):
        return size, max(used, status.st_atime)
    waiting = [path]  # not by recursion: it may be deep
    while waiting:
        for entry in _entries(waiting.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            size += status.st_blocks * 512
            used = max(used, status.st_mtime, 0.0 if is_folder else status.st_atime)
            if is_folder:
                waiting.append(entry.path)
    return size, used


def _remove(path: Path, gone: Path) -> bool:
    name = uuid.uuid4().hex
    try:
        gone.mkdir(exist_ok=True)
        target = path.rename(gone / name)
    except OSError as error:
        if error.errno != errno.EXDEV:  # somebody was faster
            return False
        try:  # the model's folder is on a disk of its own
            target = path.rename(path.with_name(f"{_GONE}-{name}"))
        except OSError:
            return False
    return remove_tree(target)
