"""Finds the folders in which a module's train() writes TensorBoard event files, while it does.

And the files that its processes have open for writing, for `evidence`.

Python's own writers (torch's, tensorboardX, Keras on torch) open their file, write and close it:
those are heard (`hearing`). TensorFlow's writer is C++, and children may be any program: those keep
the file open and are seen in /proc, every 2 s. Runs in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..contract import Run
from ..values import EVENT_FILE_MARK
from .hearing import Hearing
from .stand_ins import StandIns

_EVERY_S = 2.0
_NAMES = re.compile(r"(^|_)(TENSORBOARD|TB|MONITOR|TFEVENTS)(_|$)", re.IGNORECASE)
_MOST_ENTRIES, _DEEPEST = 5000, 6  # of the look below the working folder
_MOST_PROCESSES = 1000
_NOT_FILES = ("/dev/", "/proc/", "/memfd:")


class EventFolders:
    """Has `run.watch` told of each such folder, between entering and leaving."""

    def __init__(self, run: Run, hearing: Hearing, stand_ins: StandIns) -> None:
        self._run = run
        self._hearing = hearing
        self._stand_ins = stand_ins
        self._pid = os.getpid()
        self._pids: set[int] = set()
        self._told: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="event-folders", daemon=True)

    def __enter__(self) -> EventFolders:
        self._tell(_named_by_environment())
        with suppress(RuntimeError):  # no more threads: what Python writes is heard all the same
            self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=10)
        self._look()
        self._tell(_named_by_environment())
        with suppress(FileNotFoundError):  # the module may have removed its working folder
            self._tell(self._left_below(Path.cwd()))

    def _work(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        self._tell(set(self._hearing.event_folders))
        self._tell(self._stand_ins.asked())
        self._hearing.look()
        living = family(self._pid)
        self._pids |= living
        for pid in living:
            for path in written_by(pid):
                if EVENT_FILE_MARK in path:
                    self._tell([str(Path(path).parent)])
                else:
                    self._hearing.write(path)

    def _tell(self, folders: Any) -> None:
        for folder in folders:
            if folder in self._told:
                continue
            try:
                self._run.watch(folder)
                self._told.add(folder)
            except (OSError, ValueError) as error:  # a full disk: tried again if it is seen again
                self._run.log(f"{folder} is not shown in TensorBoard yet: {error}")
                return

    def _left_below(self, top: Path) -> Iterator[str]:
        """Folders with event files that carry one of our pids: written too fast to be seen."""
        if top == Path("/"):
            return
        names = re.compile(rf"\.({'|'.join(str(pid) for pid in self._pids)})\.")
        servers = str(self._run.server_folder)
        waiting, seen = deque([(str(top), 0)]), 0
        while waiting and seen < _MOST_ENTRIES:
            folder, depth = waiting.popleft()
            with suppress(OSError), os.scandir(folder) as scan:
                for entry in scan:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        left_out = entry.name.startswith(".") or entry.path == servers
                        if depth < _DEEPEST and not left_out:
                            waiting.append((entry.path, depth + 1))
                    elif EVENT_FILE_MARK in entry.name and names.search(entry.name + "."):
                        yield folder


def _named_by_environment() -> list[str]:
    """Folders in variables such as TENSORBOARD_LOGDIR and MONITOR; `monitorPORT` is none."""
    return [
        value
        for name, value in sorted(os.environ.items())
        if _NAMES.search(name) and os.sep in value and Path(value).is_dir()
    ]


def family(pid: int) -> set[int]:
    """The process and its descendants."""
    found: set[int] = set()
    waiting = [pid]
    while waiting and len(found) < _MOST_PROCESSES:
        one = waiting.pop()
        found.add(one)
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):
                    children = (task / "children").read_text()
                    waiting.extend(int(child) for child in children.split())
    return found


def written_by(pid: int) -> set[str]:
    """The files that the process has open for writing."""
    paths = set()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = os.readlink(entry.path)  # noqa: PTH115 - for speed
                # The link's own permissions tell how the file is open (proc(5)).
                is_file = path.startswith(os.sep) and not path.startswith(_NOT_FILES)
                if is_file and entry.stat(follow_symlinks=False).st_mode & 0o200:
                    paths.add(path)
    return paths
