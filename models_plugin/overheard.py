"""What a process writes, read piece by piece while it runs: however much, it is never waited for.

For processes that nobody vouches for: an interpreter from the settings, a module to be checked.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import IO, Any

from ..standstill import WATCH_S, Standstill, StoodStill, is_stopped

_PIPE_MAX = 1 << 20  # a read of that size takes all that is in a pipe
_LOOK_S = 0.05


def overhear(
    process: subprocess.Popen[bytes], limit_s: float, take: Callable[[IO[bytes], bytes], None]
) -> int | None:
    """Hands each piece and its stream to `take` until the process ends: its exit code.

    None: it was still running after `limit_s`. Children that keep its pipes open are not waited
    for. What `take` raises ends the reading; ending the process is the caller's. Raises StoodStill
    within seconds if it is stopped by a signal.
    """
    until = time.monotonic() + limit_s
    standstill, look_at = Standstill(), time.monotonic() + WATCH_S
    with selectors.DefaultSelector() as selector:
        for stream in filter(None, (process.stdout, process.stderr)):
            selector.register(stream, selectors.EVENT_READ)
        while True:
            code = process.poll()  # before it is read: nothing is written after the last reading
            left = until - time.monotonic()
            if code is None and left <= 0:
                return None
            if code is None and time.monotonic() >= look_at:
                look_at = time.monotonic() + WATCH_S
                if standstill.look(is_stopped(process.pid)):
                    raise StoodStill
            for key, _ in selector.select(0 if code is not None else min(left, _LOOK_S)):
                piece = os.read(key.fd, _PIPE_MAX)
                if piece:
                    take(_stream(key), piece)
                else:
                    selector.unregister(key.fileobj)
            if code is not None:
                return code


def _stream(key: selectors.SelectorKey) -> Any:
    return key.fileobj
