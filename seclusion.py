"""Keeps what one process knows from other processes of the same user. Linux only.

Plugins run as the server's own user, so that nothing but the kernel stands between them and the
server's memory. What is in a process's first environment everybody of that user may read, for as
long as it lives: /proc/PID/environ (proc(5)).
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_PR_SET_DUMPABLE = 4  # prctl(2)
_ENV_START, _ENV_END = 47, 48
"""Places in /proc/PID/stat behind the command's name; proc(5) counts them as 50 and 51."""
_PLAIN = re.compile(
    r"(PATH|HOME|USER|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|PYTHON\w*|VIRTUAL_ENV|LD_LIBRARY_PATH"
    r"|LD_PRELOAD)\Z"
)


def plain_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program needs to start and to write text: no setting, no secret."""
    return {name: value for name, value in environ.items() if _PLAIN.match(name)}


def seclude() -> None:
    """Other processes of this user cannot read this one's secrets from here on.

    Its variables but the plain ones are blanked where /proc/PID/environ shows them, and stay in
    `os.environ`. The kernel refuses others its memory (/proc/PID/mem, ptrace(2)), but for root's
    capability CAP_SYS_PTRACE; so debuggers and what looks into a process have to be root's. A crash
    of this process, or of one that it starts, leaves no core file, which would hold arguments.
    """
    _blank_first_environment()
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # 1 and not 0: a core that a program takes (core(5), "|" in core_pattern) is made at 0 as well.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != 0:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (1, hard))


def _blank_first_environment() -> None:
    """Copies of all variables are made first: what libraries ask for is found there."""
    for name, value in os.environ.items():
        os.putenv(name, value)
    try:
        stat = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        start, end = int(stat[_ENV_START]), int(stat[_ENV_END])
    except (OSError, ValueError, IndexError):  # no /proc: then nobody reads it there
        return
    if not 0 < start < end:
        return
    place = start
    for item in ctypes.string_at(start, end - start).split(b"\0"):
        key, _, content = item.partition(b"=")
        if content and not _PLAIN.match(os.fsdecode(key)):
            ctypes.memset(place + len(key) + 1, ord("*"), len(content))
        place += len(item) + 1
