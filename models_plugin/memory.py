"""The memory that a model's process may take, how its end is known, and how much it is.

Runs in that process, and in those that look at it. Python 3.8 syntax, standard library.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from ..errors import safe_str

_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def limit_memory(size: int) -> None:
    """Bounds what this process, and each one that it starts, may allocate, in bytes; 0: no bound.

    Counted is private memory that may be written (RLIMIT_DATA, getrlimit(2)): not the address
    space, of which CUDA and torch reserve many times what they use, and not the weights that are
    mapped from a file. An allocation beyond fails: MemoryError in Python, an exception or the end
    of the process in C++.
    """
    if size:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard != resource.RLIM_INFINITY:
            size = min(size, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def is_out_of_memory(error: BaseException) -> bool:
    """True for MemoryError and torch's, known by name: this room imports no torch.

    torch's CPU allocator raises a bare RuntimeError, which only its words tell.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"}:
        return True
    said = safe_str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _WORDS)


def limit_in_words() -> str:
    """The bound of this process, to be told when it was met; empty without one."""
    size = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if size == resource.RLIM_INFINITY:
        return ""
    return f" (its memory_limit is {size / 1024**2:.0f} MiB)"


def pss_of(pid: int) -> int:
    """Bytes of a process, what it shares with n others counted as a part of n; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def rss_of(pid: int) -> int:
    """Bytes of a process, what it shares counted in full; 0 if it is gone. Costs microseconds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def family_of(pid: int) -> list[int]:
    """A process and its descendants, as far as they have not left it (daemons)."""
    found = [pid]
    for one in found:
        try:
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += [int(text) for text in (thread / "children").read_text().split()]
        except (OSError, ValueError):  # it has ended
            continue
    return found
