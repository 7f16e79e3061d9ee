"""Every process that a test has caused, told by parentage: a session of its own hides none."""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelyard.training.identity import ProcessStat, descendants
from modelyard.training.marker import NAME, PLACEHOLDER

_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """While it lasts, what loses its parent below this process becomes this process's child."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def reap(but: set[int], everything: Mapping[int, ProcessStat]) -> None:
    """Takes leave of adopted ones that have ended; those in `but` are waited for by others."""
    me = os.getpid()
    for stat in everything.values():
        if stat.ppid == me and stat.state == "Z" and stat.pid not in but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(stat.pid, os.WNOHANG)


def below(pid: int, everything: Mapping[int, ProcessStat] | None = None) -> dict[int, ProcessStat]:
    """All living descendants of a process; of `everything`, if that was looked at already."""
    return {stat.pid: stat for stat in descendants(pid, everything)}


def runs_below(
    root: int, everything: Mapping[int, ProcessStat] | None = None
) -> dict[int, str | None]:
    """All living descendants with the run that they are of, told by their mark or by that of the
    nearest ancestor that has one."""
    found: dict[int, str | None] = {}
    for stat in descendants(root, everything):  # nearest first
        run = _mark(stat.pid)
        found[stat.pid] = found.get(stat.ppid) if run is None else run
    return found


def _mark(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name.decode(errors="replace") == NAME and value.decode() != PLACEHOLDER:
                return value.decode()
    return None


def words(pid: int) -> str:
    """Its command, to tell it by."""
    with contextlib.suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        return line.replace(b"\0", b" ").decode(errors="replace").strip()[-120:]
    return "gone"
