"""The first process of a run: ends what a killed supervisor leaves behind, whatever it is.

Daemonised descendants of a run come back to its supervisor, which is their subreaper. Were that the
only one, a supervisor's SIGKILL would set them free, and those that changed their environment could
not be told from others' any more. So another subreaper stands above it: this process, which does
nothing but wait. Should it be killed instead, the supervisor goes on, and no harm is done.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from .child import SIGNALS
from .failures import say
from .identity import descendants, send
from .kernel import adopt_orphans, set_name

_LIMIT_S = 20.0  # what is there after so long hangs in the kernel


def guarded(life: Callable[[], int]) -> int:
    """Runs `life` in a child, the leader of a session; its exit code, when nothing of it is left.

    In the child this does not return. Signals to this process are handed on to the child.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the fork server ignores it: then none is reaped
    adopt_orphans()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            code = life()
        except BaseException:
            say()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)
    set_name("modelyard-guard")
    code = _wait_for(child)
    if code < 0:  # killed; one that exits has ended its tree itself
        end_descendants(_reap)
    return abs(code)


def end_descendants(reap: Callable[[], object]) -> None:
    """SIGKILL for every descendant of this process, until there is none; gives up after 20 s."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        found = descendants(os.getpid())
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none forks meanwhile
            for stat in found:
                send(stat, number)
        reap()
        # Not by what was found: one that dies while /proc is read hides its children from that.
        if not _has_children():
            return
        signal.sigtimedwait({signal.SIGCHLD}, 0.02)


def _has_children() -> bool:
    """Descendants of a subreaper that lose their parent become its children: none, none left."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _wait_for(child: int) -> int:
    """Its exit code, or the negative number of the signal that ended it."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            return os.waitstatus_to_exitcode(status)
        number = signal.sigwait(SIGNALS)
        if number != signal.SIGCHLD:
            os.kill(child, number)  # ours, and not waited for yet


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return
