"""Which files a training wrote, among all that have changed while it ran.

Other processes write meanwhile: other trainings, the client's uploads, a person. A change alone is
no evidence, then. A file counts if

- Python code of the training, a forked child or a call in `native_writers` opened it for writing
  (`hearing`), or a process of its family was seen to have it open (`event_folders`); or
- its content is new and it was renamed into place by the training; or
- file and content are new, and it lies in a folder that the training made or renamed into place,
  or the result names just this file, or names a folder that is new as a whole: it was C++ code
  or another program that wrote it, too quickly to be seen; or
- its content is new, and it lies in the folder that the settings name for the model.

Never does what has only got other rights, another name or another link. Runs in the run process.
Python 3.8 syntax.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from pathlib import Path

from .hearing import Hearing

_COARSE = 5  # CLOCK_REALTIME_COARSE (clock_gettime(2)), by which file systems tell time
# statx(2): the flags of the call, the size of its answer, and where that has the time of birth
_AT_FDCWD, _NO_FOLLOW, _BIRTH, _SIZE, _BORN_AT = -100, 0x100, 0x800, 256, 80


class Evidence:
    """What was heard and seen of a training that began at `began_ns` (ns since 1970)."""

    def __init__(self, hearing: Hearing, began_ns: int) -> None:
        self._hearing = hearing
        self._began_ns = began_ns

    def wrote(self, path: Path, now: os.stat_result, top: Path, own: bool = False) -> bool:
        """Whether it wrote this file: `top`, or below it, which the result names.

        Or the settings do (`own`): whatever is new there is the model's.
        """
        began, placed = self._began_ns, self._hearing.placed
        if not self.began(now):
            return False
        born = birth_ns(path)
        if now.st_nlink > 1 and (born is None or born < began):
            return False  # it is an old file, too, which may lie anywhere
        if str(path) in self._hearing.written:
            return True
        if now.st_mtime_ns < began:
            return False
        if own or str(path) in placed:
            return True
        if born is not None and born < began:
            return False
        return path == top or self._is_new(top) or any(str(up) in placed for up in path.parents)

    def began(self, now: os.stat_result) -> bool:
        """Whether it was made or changed since the training began, by whomever."""
        return now.st_ctime_ns >= self._began_ns

    def _is_new(self, folder: Path) -> bool:
        born = birth_ns(folder)
        return born is not None and born >= self._began_ns


def birth_ns(path: Path) -> int | None:
    """When the file or folder was made (ns since 1970); None where nobody knows."""
    answer = ctypes.create_string_buffer(_SIZE)
    try:
        call = ctypes.CDLL(None).statx  # glibc 2.28, musl 1.2.5
        if call(_AT_FDCWD, os.fsencode(path), _NO_FOLLOW, _BIRTH, answer) != 0:
            return None
    except (AttributeError, OSError):
        return None
    if not struct.unpack_from("I", answer)[0] & _BIRTH:
        return None
    seconds, nanoseconds = struct.unpack_from("qI", answer, _BORN_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def next_tick() -> int:
    """A time (ns since 1970) that no file carries yet, and every file changed from now on does.

    File systems tell time in steps of 1-10 ms, and a request's files are not much older. The step
    may come late on a busy machine: the time that it tells must have passed the precise one.
    """
    begin = time.time_ns()
    for _ in range(100):
        now = time.clock_gettime_ns(_COARSE)
        if now > begin:
            return now
        time.sleep(0.001)
    return begin
