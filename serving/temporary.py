"""What calls leave in their worker's temporary folder, removed when untouched for an hour.

Not at once: a plugin may keep there for later what its first call made. What is there when the
model has been loaded stays, and so does what is open. All of it goes when the worker ends. Runs in
the worker, on a thread of its own, so that no call waits for it. Standard library only, Python 3.8
syntax.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time

from ..clearing import remove_tree

LONGEST_S = 3600.0
"""Seconds that something may lie there untouched: neither read, written nor renamed."""
LONGEST_WHEN_FULL_S = 60.0
"""The same while no call is under way and the disk has less than `_ROOM` bytes left."""
_ROOM = 1 << 30
_EVERY_S = 30.0


class TemporaryFiles:
    """Of one temporary folder. `busy` is set by its owner while a call is under way."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._kept: frozenset[str] = frozenset()
        self._thread: threading.Thread | None = None
        self.busy = False

    def begin(self) -> None:
        """What is there now stays; the rest is swept from time to time, while the process lives."""
        with contextlib.suppress(OSError):
            self._kept = frozenset(os.listdir(self._folder))  # noqa: PTH208 - names are needed
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="temporary-files", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_EVERY_S)
            with contextlib.suppress(Exception):  # a plugin may have replaced what this needs
                self.sweep(self._longest(), time.time())

    def _longest(self) -> float:
        full = not self.busy and shutil.disk_usage(self._folder).free < _ROOM
        return LONGEST_WHEN_FULL_S if full else LONGEST_S

    def sweep(self, longest_s: float, now: float) -> None:
        """Removes what has lain there longer; `now` is time.time's."""
        names = [name for name in os.listdir(self._folder) if name not in self._kept]  # noqa: PTH208
        if not names:
            return
        used = _open_files()
        for name in names:
            path = os.path.join(self._folder, name)  # noqa: PTH118
            inside = path + os.sep
            if any(one == path or one.startswith(inside) for one in used):
                continue
            # One that cannot be looked through (too deep) must not keep the others here.
            with contextlib.suppress(OSError, RecursionError):
                if _untouched(path, now - longest_s):
                    remove_tree(path)


def _open_files() -> list[str]:
    """Paths that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the one of this listing
            found.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
    return found


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112, PTH114


def _untouched(path: str, since: float) -> bool:
    """True if nothing of it was read, written or renamed since then."""
    if _touched(path) > since:
        return False
    if not _is_folder(path):
        return True
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            if _touched(os.path.join(place, name)) > since:  # noqa: PTH118
                return False
    return True


def _touched(path: str) -> float:
    """Seconds since the epoch. A read counts where the file system keeps its time (relatime does
    once a day)."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0.0
    return max(found.st_atime, found.st_mtime, found.st_ctime)
