"""What would have whoever waits for a process wait for ever: it was stopped by a signal (SIGSTOP, a
debugger), or nobody reads what it wrote. Runs in those that look at another process: a plugin's, a
run's, one of the server's own. Standard library only.
"""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

WATCH_S = 2.0
"""How often a process that somebody waits for is looked at."""
RUN_LOOKS = 6
"""For processes that keep a run: to end one costs an attempt, and an operator may stop it for a
moment."""
APART_S = 1.0
_PIECE = 256 << 10  # bytes


class StoodStill(Exception):
    """It was stopped by a signal, and nobody has it go on."""


class Standstill:
    """Counts how often one process was found stopped: at so many `looks` in a row, `APART_S` apart
    or more, it is given up.

    By looks and not by the time between two of them: on a busy machine, or when we were stopped
    ourselves, a look may be late, and between two late ones the process may have gone on. The clock
    is the monotonic one, which nobody sets and which does not count a machine's sleep.
    """

    def __init__(self, looks: int = 2) -> None:
        self._looks = looks
        self._found = 0
        self._next = 0.0

    def look(self, stopped: bool) -> bool:
        """Takes what was just seen; True if the process is to be given up. May come often."""
        if not stopped:
            self._found = 0
            return False
        now = time.monotonic()
        if self._found == 0 or now >= self._next:
            self._found, self._next = self._found + 1, now + APART_S
        return self._found >= self._looks


def is_stopped(pid: int) -> bool:
    """The kernel's word; False of one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    # Behind the name, which may hold anything: proc(5).
    return stat.rpartition(")")[2].split()[0] in ("T", "t")


async def kill_if_stopped(child: Process) -> bool:
    """Looks at a child of this event loop until it has ended, and kills it when it stands still.

    True if it did. Nobody who waits for it waits longer than some seconds then.
    """
    standstill = Standstill()
    while child.returncode is None:
        await asyncio.sleep(WATCH_S)
        if child.returncode is None and standstill.look(is_stopped(child.pid)):
            with suppress(ProcessLookupError):
                child.kill()
            return True
    return False


@contextmanager
def watched(child: Process) -> Iterator[None]:
    """The same for as long as the block lasts, in which a coroutine waits for the child."""
    watch = asyncio.create_task(kill_if_stopped(child))
    try:
        yield
    finally:
        watch.cancel()


async def end(child: Process, *readers: asyncio.Task[Any]) -> None:
    """Kills a child of this event loop, and returns when nothing of it is left, also if its caller
    is cancelled. Nobody but `readers`, which read to the end, may be reading its output any more.

    What it wrote is read away: asyncio's `wait()` returns when a child's pipes are at their end,
    and a pipe of which much is unread is looked at no more (CPython, gh-119710).
    """
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
    await asyncio.shield(asyncio.ensure_future(_out(child, readers)))


async def _out(child: Process, readers: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*readers, return_exceptions=True)
    for pipe in (child.stdout, child.stderr):
        while pipe is not None and await pipe.read(_PIECE):
            pass
    await child.wait()
