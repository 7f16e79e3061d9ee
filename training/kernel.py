"""The few Linux calls that Python lacks; all of them act on the calling process."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NAME = 1, 36, 15


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when `parent` ends. Exits at once if it has ended already.

    It fires when the *thread* that forked us ends (prctl(2)), so the parent must fork from a
    thread that lives as long as it does. An exec keeps it, a fork does not hand it on.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Descendants whose parent ends become our children, not init's: none is out of reach."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """What ps and top show (15 characters)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    ctypes.CDLL(None).prctl(_PR_SET_NAME, buffer, 0, 0, 0)


def lower_session(nice: int) -> None:
    """Lowers the CPU share of this session by `nice` (0 to 19), if this process leads it.

    With autogroup on, nice has no effect between sessions (sched(7)): this has. A shell that
    started us by hand keeps its share; without the file there is no autogroup, and nice counts.
    """
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))


def lower_process(nice: int) -> None:
    """Adds `nice` to the niceness of this process and all that it starts."""
    with suppress(OSError):
        os.nice(nice)


def stay_on(cpus: Sequence[int]) -> None:
    """Keeps this process, and all that it will start, to these CPUs.

    If none of them is there any more (the run was taken in by a server with others), it has all.
    """
    with suppress(OSError):
        os.sched_setaffinity(0, cpus)


def prefer_as_oom_victim() -> None:
    """Of all, the kernel shall end this process first when memory runs out: not the server."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since boot, on this machine."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
