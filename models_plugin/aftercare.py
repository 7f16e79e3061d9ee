"""What plugin code may leave changed in its process and everybody's code there needs, put back.

Output, timers that would end the process later, limits of the kernel's and of recursion. In workers
after a batch (`serving/surroundings.py`, which knows more of it), in run processes after train().
What is so when the plugin is loaded was meant to be so, and stays. Standard library only, Python
3.8 syntax.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its wrappers in `signal` make an enum of all they return: 5 µs instead of 0.1
import contextlib
import faulthandler
import fcntl
import os
import resource
import signal
import sys
from typing import Any

from .redaction import reopened_output

_HIGH_FD = 900  # plugins that close "all" descriptors rarely go so far
_TIMERS = (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS = (
    *(resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_DATA),
    *(resource.RLIMIT_CPU, resource.RLIMIT_NPROC),
)


class Aftercare:
    """All as it is when this is made, or `remember` is called; `restore` makes it so again."""

    def __init__(self) -> None:
        self._copies: dict[int, int] = {}
        self.remember()

    def remember(self) -> None:
        """All as it is now."""
        self._streams: dict[int, Any] = {1: sys.stdout, 2: sys.stderr}
        self._led_to: dict[int, tuple[int, int]] = {}
        for copy in self._copies.values():
            with contextlib.suppress(OSError):
                os.close(copy)
        self._copies = {}
        for fd in self._streams:
            with contextlib.suppress(OSError):
                self._copies[fd] = out_of_reach(fd)
                self._led_to[fd] = _place(fd)
        self._limits = [resource.getrlimit(one) for one in _LIMITS]
        self._recursion = sys.getrecursionlimit()
        self._timers = [one for one in _TIMERS if _signal.getitimer(one)[0] == 0.0]

    def restore(self) -> bool:
        """False if not all of it can be put back: the process is of no more use. Raises nothing."""
        whole = self._restore_limits()
        _signal.alarm(0)
        for timer in self._timers:
            _signal.setitimer(timer, 0.0)
        faulthandler.cancel_dump_traceback_later()
        self._restore_output()
        return whole

    def _restore_limits(self) -> bool:
        """A hard limit that was lowered stays so (getrlimit(2)): then False."""
        if sys.getrecursionlimit() < self._recursion:  # one that was raised is no harm
            sys.setrecursionlimit(self._recursion)
        if [resource.getrlimit(one) for one in _LIMITS] == self._limits:
            return True
        whole = True
        for one, were in zip(_LIMITS, self._limits):  # noqa: B905 - Python 3.8
            try:
                resource.setrlimit(one, were)
            except (OSError, ValueError):
                whole = False
        return whole

    def _restore_output(self) -> None:
        """Opens again what was closed or led elsewhere: otherwise the next print() would fail, or
        wait for a reader of the pipe that it goes to."""
        for fd, copy in self._copies.items():
            try:
                if _place(fd) == self._led_to[fd]:
                    continue
            except OSError:
                pass
            with contextlib.suppress(OSError):  # the copy was closed, too
                os.dup2(copy, fd)
        if sys.stdout is not self._streams[1] or getattr(sys.stdout, "closed", False):
            sys.stdout = self._streams[1] = _opened(self._streams[1], 1)
        if sys.stderr is not self._streams[2] or getattr(sys.stderr, "closed", False):
            sys.stderr = self._streams[2] = _opened(self._streams[2], 2)


def out_of_reach(fd: int) -> int:
    """A copy with a high number, for plugins that close all descriptors; not inherited."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    high = _HIGH_FD if limit == resource.RLIM_INFINITY else min(_HIGH_FD, limit - 32)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(high, 3))


def _opened(stream: Any, fd: int) -> Any:
    """The stream, or another in its place if it was closed."""
    return reopened_output(fd) if getattr(stream, "closed", False) else stream


def _place(fd: int) -> tuple[int, int]:
    """What the descriptor leads to. Raises OSError if it is closed."""
    told = os.fstat(fd)
    return told.st_dev, told.st_ino
