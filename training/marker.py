"""A run's id in the environment of each of its processes, to find them without their supervisor.

Beside it stands which home the run is of: a server that was started on a copy of a home has runs
with the same ids, and is to find none of the other's processes.

`/proc/PID/environ` shows the bytes that a process got at its last exec. A child that is only forked
shows its parent's, whatever `os.environ` says. So the fork server is exec'ed with placeholders of
the same length, and each fork overwrites these very bytes in place.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .identity import ProcessStat, read_stat

NAME, HOME_NAME = "MODELYARD_RUN_ID", "MODELYARD_RUN_HOME"
PLACEHOLDER = "0" * 32


def marks(run_folder: Path) -> dict[str, str]:
    """The variables for the processes of a run. Raises OSError."""
    return {NAME: run_folder.name, HOME_NAME: home_of(run_folder)}


def placeholders() -> dict[str, str]:
    """The variables with which the fork server is started."""
    return {NAME: PLACEHOLDER, HOME_NAME: PLACEHOLDER}


def home_of(run_folder: Path) -> str:
    """Which home a run is of, in 32 characters, by its folder of runs: by no path, since a home may
    be known by several. Raises OSError."""
    told = run_folder.parent.stat()
    return f"{told.st_dev:016x}{told.st_ino:016x}"


def mark(run_folder: Path) -> bool:
    """Makes this process and all it forks show the run's marks; False without placeholders to write
    over.

    Must come before any change of `os.environ`: that moves the values elsewhere.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    whole = True
    for name, text in marks(run_folder).items():
        value, address = text.encode(), libc.getenv(name.encode())
        if not address or len(value) != len(ctypes.string_at(address)):
            whole = False
        else:
            ctypes.memmove(address, value, len(value))
    return whole


def marked(run_id: str, home: str | None = None) -> list[ProcessStat]:
    """The living processes that carry `run_id`, as far as this user may see their environment.

    With `home` (`home_of`) only those of a run of that home, and those that do not tell.
    """
    wanted = f"{NAME}={run_id}".encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            entries = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in entries and (home is None or _is_of(entries, home)):
            stat = read_stat(int(name))
            if stat is not None and stat.state not in "ZX":
                found.append(stat)
    return found


def _is_of(entries: list[bytes], home: str) -> bool:
    prefix = f"{HOME_NAME}=".encode()
    told = [entry[len(prefix) :] for entry in entries if entry.startswith(prefix)]
    return not told or home.encode() in told
