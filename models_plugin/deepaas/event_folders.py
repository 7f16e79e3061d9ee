"""Finds the folders in which a module's train() writes TensorBoard event files, while it does.

Python's own writers (torch's, tensorboardX, Keras on torch) open their file, write and close it:
those are heard by an audit hook. TensorFlow's writer is C++, and children may be any program: those
keep the file open and are seen in /proc. Runs in the run process. Python 3.8 syntax.

It costs 0.1-0.4 us for each audit event (every open, import and id() of Python code), and 0.5-2 ms
every 2 s for the look into /proc.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..contract import Run
from .stand_ins import StandIns

MARK = "tfevents"
_EVERY_S = 2.0
_NAMES = re.compile(r"(^|_)(TENSORBOARD|TB|MONITOR|TFEVENTS)(_|$)", re.IGNORECASE)
_MOST_ENTRIES, _DEEPEST = 5000, 6  # of the look below the working folder
_MOST_PROCESSES = 1000


class EventFolders:
    """Has `run.watch` told of each such folder, between entering and leaving."""

    def __init__(self, run: Run, stand_ins: StandIns) -> None:
        self._run = run
        self._stand_ins = stand_ins
        self._pid = os.getpid()
        self._pids: set[int] = set()
        self._heard: set[str] = set()
        self._told: set[str] = set()
        self._listening = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="event-folders", daemon=True)

    def __enter__(self) -> EventFolders:
        self._listening = True
        sys.addaudithook(self._hear)  # for the life of the process: there is no way to remove it
        self._tell(_named_by_environment())
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._end.set()
        self._thread.join(timeout=10)
        self._listening = False
        self._look()
        self._tell(_named_by_environment())
        self._tell(self._left_below(Path.cwd()))

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if event != "open" or not self._listening:
            return
        try:
            path, _, flags = details
            if isinstance(path, int) or not flags & os.O_ACCMODE:
                return
            path = os.fsdecode(path)
            if MARK in path:
                self._note(os.path.realpath(os.path.dirname(path)))  # noqa: PTH120 - for speed
        except Exception:  # whatever it is: the module's open() goes on
            return

    def _note(self, folder: str) -> None:
        if folder in self._heard:
            return
        self._heard.add(folder)
        if os.getpid() != self._pid:  # forked: our set is a copy
            self._stand_ins.ask(folder)

    def _work(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        self._tell(set(self._heard))
        self._tell(self._stand_ins.asked())
        living = family(self._pid)
        self._pids |= living
        for pid in living:
            self._tell(written_by(pid))

    def _tell(self, folders: Any) -> None:
        for folder in folders:
            if folder in self._told:
                continue
            try:
                self._run.watch(folder)
                self._told.add(folder)
            except OSError as error:  # a full disk: tried again if it is seen again
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
                    elif MARK in entry.name and names.search(entry.name + "."):
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
    """Folders of the event files that the process has open for writing."""
    folders = set()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = os.readlink(entry.path)  # noqa: PTH115 - for speed
                # The link's own permissions tell how the file is open (proc(5)).
                if MARK in path and entry.stat(follow_symlinks=False).st_mode & 0o200:
                    folders.add(str(Path(path).parent))
    return folders
