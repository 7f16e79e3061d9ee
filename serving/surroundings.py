"""What a call may change of its process and the next one relies on, put back. Runs in the worker.

Output, folder, temporary folder, umask, an alarm, blocked signals, handlers of the usual signals,
and those functions of Python and of libraries that everybody uses (`originals.py`). What a plugin
keeps in its own memory (its globals, its `os.environ`) stays as it leaves it: plugins keep settings
and caches there. What it replaced while it was imported or loaded was meant to be so, and stays
too. Some microseconds a batch, after its answers have left. Standard library only, Python 3.8
syntax.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its wrappers in `signal` make an enum of all they return: 5 µs instead of 0.1
import contextlib
import fcntl
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from ..clearing import make_folder
from ..models_plugin.originals import Originals
from ..models_plugin.scratch import use_temporary_folder

_HIGH_FD = 900  # plugins that close "all" descriptors rarely go so far
_MOST_TOLD = 20  # names in a line of the log
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM)


class Surroundings:
    """See the module; `remember` when the model is loaded, `restore` after a batch."""

    def __init__(self) -> None:
        self._copies: dict[int, int] = {}
        for fd in (1, 2):
            with contextlib.suppress(OSError):
                self._copies[fd] = out_of_reach(fd)
        self._originals = Originals()
        self._told: set[str] = set()
        self.remember()

    def remember(self) -> None:
        """All as it is now."""
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        try:
            self._folder = str(Path.cwd())
        except FileNotFoundError:
            self._folder = "/"
        self._temporary = tempfile.tempdir
        self._mask = _signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = [(int(number), _signal.getsignal(number)) for number in _SIGNALS]
        self._originals.remember()

    def restore_functions(self) -> None:
        """What the model's code has replaced; the worker's log tells it, once for each name."""
        changed = self._originals.put_back()
        if changed and not self._told.issuperset(changed):
            self._told.update(changed)
            with contextlib.suppress(Exception):
                names = ", ".join(changed[:_MOST_TOLD])
                print(f"A call had replaced {names}: put back.", file=sys.stderr, flush=True)

    def restore_umask(self) -> None:
        """Before files are made for the front, which could not read them otherwise."""
        os.umask(self.umask)

    def restore(self) -> None:
        """Opens again what was closed: otherwise the first print() of the next call would fail."""
        self.restore_functions()  # first: the rest uses some of them
        _signal.alarm(0)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers:
            if _signal.getsignal(number) != handler and handler is not None:
                _signal.signal(number, handler)
        for fd, copy in self._copies.items():
            try:
                fcntl.fcntl(fd, fcntl.F_GETFD)
            except OSError:
                with contextlib.suppress(OSError):  # the copy was closed, too
                    os.dup2(copy, fd)
        self.restore_umask()
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        if self._temporary is not None and not os.access(self._temporary, os.F_OK):
            with contextlib.suppress(OSError):
                make_folder(self._temporary)
                use_temporary_folder()


def out_of_reach(fd: int) -> int:
    """A copy with a high number, for plugins that close all descriptors; not inherited."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    high = _HIGH_FD if limit == resource.RLIM_INFINITY else min(_HIGH_FD, limit - 32)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(high, 3))
