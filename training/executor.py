"""Who runs the runs. `Executor` is the seam; `LocalExecutor` runs them on this machine.

Runs in the server. Nothing of a run depends on the executor object: a new server's executor takes
over the runs that an earlier one launched, by their folders alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..errors import CannotLaunch
from ..seclusion import plain_environment
from .forkclient import ForkServerGone, ForkServerProcess
from .identity import Identity, send
from .marker import home_of, marked, marks
from .paths import RunPaths, read_json

_ENTRY = f"{__package__}.supervisor"  # named and not imported: the front is to stay small
_SWEEP_S = 5.0


class Executor(Protocol):
    """Starts supervisors and reaches them. Every method may be called for any run of the home."""

    async def launch(
        self, paths: RunPaths, epoch: int, env: Mapping[str, str], python: str | None = None
    ) -> None:
        """Starts a supervisor of `epoch`; returns when that has been handed over.

        `env` is the whole environment of the run. `python` is the interpreter of the model's own
        environment; a run with one starts cold.
        Raises CannotLaunch. An epoch is launched once: what is launched twice runs once.
        """

    async def signal(self, paths: RunPaths) -> None:
        """Tells the supervisor that control.json has changed; nothing happens if it is dead."""

    def alive(self, paths: RunPaths) -> bool:
        """True while the supervisor that was launched last lives."""

    def stopped(self, paths: RunPaths) -> bool:
        """True while a signal has stopped that supervisor: it lives, and does nothing."""

    async def sweep(self, paths: RunPaths) -> int:
        """Kills what a dead supervisor left behind; how many there were. A living one's stay."""

    async def preload(self, modules: Sequence[str]) -> None:
        """Has modules imported before the next launch; those that cannot be are left out."""

    async def close(self) -> None:
        """Ends what the executor itself started; runs go on."""


class LocalExecutor:
    """Forks supervisors from a warm process; if that fails, starts them cold.

    What the fork server has to say goes to forkserver.log in `logs` (default: the server's stderr).
    """

    def __init__(self, logs: Path | None = None) -> None:
        self._fork_server = ForkServerProcess(None if logs is None else logs / "forkserver.log")
        self._launched: dict[Path, Identity] = {}
        self._cold: list[subprocess.Popen[bytes]] = []

    async def launch(
        self, paths: RunPaths, epoch: int, env: Mapping[str, str], python: str | None = None
    ) -> None:
        self._forget_ended()
        pid = None
        if python is None:
            with suppress(ForkServerGone):
                pid = await self._fork_server.launch(paths.root, epoch, env)
        if pid is None:
            pid = await asyncio.to_thread(self._launch_cold, paths, epoch, env, python)
        with suppress(ProcessLookupError):  # it may have ended already
            self._launched[paths.root] = Identity.of(pid, epoch)

    async def signal(self, paths: RunPaths) -> None:
        identity = self._identity(paths)
        if identity is not None:
            identity.signal(signal.SIGUSR1)

    def alive(self, paths: RunPaths) -> bool:
        identity = self._identity(paths)
        return identity is not None and identity.alive()

    def stopped(self, paths: RunPaths) -> bool:
        identity = self._identity(paths)
        return identity is not None and identity.stopped()

    async def sweep(self, paths: RunPaths) -> int:
        return 0 if self.alive(paths) else await asyncio.to_thread(_sweep, paths)

    async def preload(self, modules: Sequence[str]) -> None:
        with suppress(ForkServerGone):  # then runs start cold; the log says why
            await self._fork_server.preload(modules)

    async def close(self) -> None:
        await self._fork_server.close()
        self._forget_ended()

    def _identity(self, paths: RunPaths) -> Identity | None:
        """The supervisor's own word, or ours while it has not come to write it."""
        launched = self._launched.get(paths.root)
        written = read_identity(paths.supervisor)
        if launched is None or (written is not None and written.epoch >= launched.epoch):
            return written
        return launched

    def _launch_cold(
        self, paths: RunPaths, epoch: int, env: Mapping[str, str], python: str | None
    ) -> int:
        command = [sys.executable, "-P", "-m", _ENTRY, str(paths.root)]
        command += ["--epoch", str(epoch)]
        given = b""
        if python is not None:
            if not os.access(python, os.X_OK):
                raise CannotLaunch(f"The interpreter of the model's environment is gone: {python}")
            # The supervisor is of our interpreter, and needs nothing of the server's; the
            # environment of the other one, whose PYTHONPATH is not for ours, is told on its input.
            command += ["--python", python, "--environment"]
            given = json.dumps(dict(env)).encode()
            env = plain_environment(os.environ)
        try:
            with paths.supervisor_log.open("ab") as log:
                # Popen and no asyncio subprocess: that kills its child when the loop closes.
                child = subprocess.Popen(
                    command,
                    env={**env, **marks(paths.root)},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            with suppress(BrokenPipeError):  # it has ended; that is noticed by its silence
                assert child.stdin is not None
                with child.stdin as stdin:
                    stdin.write(given)
        except OSError as error:
            raise CannotLaunch(f"The run's supervisor cannot be started: {error}") from error
        self._cold.append(child)
        return child.pid

    def _forget_ended(self) -> None:
        self._cold = [child for child in self._cold if child.poll() is None]
        for folder, identity in list(self._launched.items()):
            if not identity.alive():
                del self._launched[folder]


def read_identity(path: Path) -> Identity | None:
    """The identity in supervisor.json or process.json; None if there is none."""
    try:
        data = read_json(path)
        return None if data is None else Identity.from_data(data)
    except (ValueError, KeyError):
        return None


def read_guardian(paths: RunPaths) -> Identity | None:
    """The guardian of the supervisor in supervisor.json; None if there is none."""
    with suppress(ValueError, KeyError, TypeError):
        data = read_json(paths.supervisor)
        return None if data is None else Identity.from_data(data["guardian"])
    return None


def _sweep(paths: RunPaths) -> int:
    """Kills by the run's marks until nobody carries them.

    The guardian comes first: it knows descendants that have no mark. They may have stopped it.
    """
    killed: set[int] = set()
    guardian = read_guardian(paths)
    end = time.monotonic() + _SWEEP_S
    while guardian is not None and guardian.alive() and time.monotonic() < end:
        guardian.signal(signal.SIGCONT)
        time.sleep(0.01)
    run_process = read_identity(paths.process)
    if run_process is not None and run_process.signal(signal.SIGKILL):
        killed.add(run_process.pid)
    home = home_of(paths.root)
    end = time.monotonic() + _SWEEP_S
    while time.monotonic() < end:
        found = [stat for stat in marked(paths.id, home) if stat.pid != os.getpid()]
        if not found:
            break
        for stat in found:
            killed.add(stat.pid)
            send(stat, signal.SIGKILL)
        time.sleep(0.01)
    return len(killed)
