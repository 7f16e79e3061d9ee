"""Nothing of a model's code outlives its process, nor the front. Runs in the front.

Workers and plugin tasks end with the front (PR_SET_PDEATHSIG); what their plugin has started goes
with their process group. What called setsid has left that, and would stay for ever: so each child
carries a mark in its environment and in its limits, which all that it starts inherit, and a small
process of ours (`sweep.py`) ends those with the mark of a child that has ended; all of them, when
the front has.

Runs are none of this: their guardians see to them, and they outlive the front.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ..seclusion import plain_environment
from . import sweep

_CLOSE_S = 10.0


class Leftovers:
    """The marks of one front's children, and the process that sweeps after them.

    `server` is the home's id. The process is started with the first mark, and again should it have
    died; what it ended stands in `log`.
    """

    def __init__(self, server: str, log: Path) -> None:
        self._server = server
        self._log = log
        self._front = sweep.front_mark(server, os.getpid())
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The sweeping process; None while there is none."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def mark(self) -> dict[str, str]:
        """A new mark, as variables for the environment of one child."""
        self._ready()
        return {sweep.NAME: f"{self._front}{next(self._numbers)}"}

    def over(self, mark: dict[str, str]) -> None:
        """The child with this mark has ended: whatever else carries it is ended now."""
        if self._ready():
            assert self._channel is not None
            with suppress(OSError):  # it has died, or has much to do: the front's end sweeps too
                self._channel.send(mark[sweep.NAME].encode() + b"\n")

    async def close(self) -> None:
        """Ends what is left of all children, and then the process. Takes at most 10 s."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            await asyncio.to_thread(_wait_or_kill, self._process)

    def _ready(self) -> bool:
        """True when the process is there."""
        if self.pid is None:
            with suppress(OSError):  # no process may be made just now; the next start sweeps
                self._start()
        return self.pid is not None

    def _start(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        with theirs, self._log.open("ab") as output:
            # -I -S: nothing of the environment, no site-packages. It starts in 15 ms.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", sweep.__file__),
                    *(str(theirs.fileno()), self._server, str(os.getpid())),
                ],
                env=plain_environment(os.environ),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the server's terminal is not for it
            )


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_CLOSE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
