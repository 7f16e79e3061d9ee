"""Hears which files and folders Python code makes while a module's train() runs.

By an audit hook (PEP 578), which costs 0.3 us for each event of any kind, such as every open,
import and id() of Python code: 4 in a training step of torch. What C and C++ write by themselves is
not heard, but for the calls in `native_writers`. Runs in the run process. Python 3.8 syntax.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..values import EVENT_FILE_MARK
from .native_writers import NativeWriters

_MOST = 50_000
_EVENTS = frozenset(("open", "os.mkdir", "os.rename", "os.link"))
_WRITTEN, _PLACED, _MADE = b"w", b"p", b"m"  # how a forked child tells them


class Hearing:
    """What was heard between entering and leaving, as real paths.

    - `written`: files that were opened for writing, under all names that they got since.
    - `placed`: folders that were not there before, and what was renamed into its place.
    - `made`: all of these, and folders that were asked for and were there: a result may name them.
    - `event_folders`: folders of event files.

    A forked child has a copy of this object: it tells the folder of an event file by `tell`, and
    the rest in the file `told`.
    """

    def __init__(self, tell: Callable[[str], None], told: Path) -> None:
        self.event_folders: set[str] = set()
        self.written: set[str] = set()
        self.placed: set[str] = set()
        self.made: set[str] = set()
        self._kinds = {_WRITTEN: self.written, _PLACED: self.placed, _MADE: self.made}
        self._writers = NativeWriters(self.write)
        self._tell = tell
        self._told = str(told)
        self._pid = os.getpid()
        self._on = False

    def __enter__(self) -> Hearing:
        self._on = True
        events = _EVENTS

        def hook(event: str, details: tuple[Any, ...]) -> None:
            if event in events:
                self._hear(event, details)

        sys.addaudithook(hook)  # for the life of the process: there is no way to remove it
        self._writers.attach()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._on = False
        self._writers.detach()
        with suppress(OSError):
            for line in Path(self._told).read_bytes().split(b"\0"):
                if line:
                    self._add(line[:1], os.fsdecode(line[1:]))

    def look(self) -> None:
        """Now and then while it hears: what the training has imported since may write, too."""
        if self._on:
            self._writers.attach()

    def write(self, path: Any) -> None:
        """A file that is opened for writing, or was seen so. Raises nothing."""
        try:
            path = os.fsdecode(path)
            if path in self.written or path == self._told:
                return
            if EVENT_FILE_MARK in path:
                self._event_file(os.path.realpath(os.path.dirname(path)))  # noqa: PTH120 - speed
            self._add(_WRITTEN, os.path.realpath(path))
        except Exception:  # whatever it is: the module's open() goes on
            return

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self._on:
            return
        try:
            if event == "open":
                if details[2] & os.O_ACCMODE and not isinstance(details[0], int):
                    self.write(details[0])
            elif event == "os.mkdir":
                if details[2] == -1:  # otherwise it is relative to an open folder
                    self._made_folder(_itself(details[0]))
            elif details[2] == details[3] == -1:
                self._renamed(_itself(details[0]), _itself(details[1]), event == "os.link")
        except Exception:  # whatever it is: the module's call goes on
            return

    def _made_folder(self, path: str) -> None:
        self._add(_MADE if os.path.lexists(path) else _PLACED, path)

    def _renamed(self, source: str, target: str, linked: bool) -> None:
        """Heard before it is done, which may fail: a folder that is there is not replaced."""
        if os.path.isdir(target):  # noqa: PTH112 - for speed
            return
        if not linked:
            self._add(_PLACED, target)
        for kind in (_WRITTEN, _PLACED):
            known = self._kinds[kind]
            if source in known:
                self._add(kind, target)
            if not linked and os.path.isdir(source):  # noqa: PTH112 - for speed
                for path in [path for path in known if path.startswith(source + os.sep)]:
                    self._add(kind, target + path[len(source) :])

    def _add(self, kind: bytes, path: str) -> None:
        known = self._kinds[kind]
        if path in known or len(known) >= _MOST:
            return
        known.add(path)
        self.made.add(path)
        if os.getpid() != self._pid:
            self._tell_parent(kind, path)

    def _tell_parent(self, kind: bytes, path: str) -> None:
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._told, flags, 0o600)
            try:
                os.write(descriptor, kind + os.fsencode(path) + b"\0")
            finally:
                os.close(descriptor)

    def _event_file(self, folder: str) -> None:
        if folder in self.event_folders:
            return
        self.event_folders.add(folder)
        if os.getpid() != self._pid:
            self._tell(folder)


def _itself(path: Any) -> str:
    """The real path of what is made or renamed: if it is a link, that of the link."""
    folder, name = os.path.split(os.fsdecode(path).rstrip(os.sep))
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - for speed
