"""Hears which files and folders Python code makes while a module's train() runs.

By an audit hook (PEP 578), which costs 0.3 us for each event of any kind, such as every open,
import and id() of Python code: 4 in a training step of torch. What C and C++ write by themselves is
not heard. Runs in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

MARK = "tfevents"
"""What TensorBoard takes for an event file has this in its name."""

_MOST = 5000


class Hearing:
    """What was heard between entering and leaving: real paths, event files apart.

    `tell` gets the folder of an event file that a forked child opens: it has a copy of this object.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.event_folders: set[str] = set()
        self.made: set[str] = set()
        self._tell = tell
        self._pid = os.getpid()
        self._on = False

    def __enter__(self) -> Hearing:
        self._on = True

        def hook(event: str, details: tuple[Any, ...]) -> None:
            if event == "open" or event == "os.mkdir":  # faster than `in`
                self._hear(event, details)

        sys.addaudithook(hook)  # for the life of the process: there is no way to remove it
        return self

    def __exit__(self, *exception: Any) -> None:
        self._on = False

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self._on:
            return
        try:
            path = details[0]
            if isinstance(path, int) or (event == "open" and not details[2] & os.O_ACCMODE):
                return
            path = os.fsdecode(path)
            if MARK in path:
                self._event_file(os.path.realpath(os.path.dirname(path)))  # noqa: PTH120 - speed
            elif len(self.made) < _MOST and path not in self.made:
                self.made.add(os.path.realpath(path))
        except Exception:  # whatever it is: the module's open() goes on
            return

    def _event_file(self, folder: str) -> None:
        if folder in self.event_folders:
            return
        self.event_folders.add(folder)
        if os.getpid() != self._pid:
            self._tell(folder)
