"""A run's id in the environment of each of its processes, to find them without their supervisor.

`/proc/PID/environ` shows the bytes that a process got at its last exec. A child that is only forked
shows its parent's, whatever `os.environ` says. So the fork server is exec'ed with a placeholder of
the same length, and each fork overwrites these very bytes in place.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .identity import ProcessStat, read_stat

NAME = "MODELYARD_RUN_ID"
PLACEHOLDER = "0" * 32


def mark(run_id: str) -> bool:
    """Makes this process and all it forks show `run_id`; False without a placeholder to write over.

    Must come before any change of `os.environ[NAME]`: that moves the value elsewhere.
    """
    value = run_id.encode()
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(NAME.encode())
    if not address or len(value) != len(ctypes.string_at(address)):
        return False
    ctypes.memmove(address, value, len(value))
    return True


def marked(run_id: str) -> list[ProcessStat]:
    """The living processes that carry `run_id`, as far as this user may see their environment."""
    wanted = f"{NAME}={run_id}".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            stat = read_stat(int(name))
            if stat is not None and stat.state not in "ZX":
                found.append(stat)
    return found
