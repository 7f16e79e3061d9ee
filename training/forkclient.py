"""The server's side of the fork server: starts it, asks it, starts it again when it has died."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..seclusion import plain_environment
from ..standstill import APART_S, RUN_LOOKS, Standstill
from .identity import read_stat
from .marker import placeholders

LIGHT_MODULES = ("numpy",)
"""Preloaded always: what nearly every run imports."""

TORCH_MODULES = (
    *("torch", "torch.optim", "torch._dynamo", "torch.profiler._cupti_monitor"),
    *("safetensors.torch", "PIL.Image"),
)
"""To be preloaded for models with the capability `torch`; what cannot be imported is left out.

torch._dynamo: the first optimizer step imports it, which takes 1-2 s. The profiler's module: the
first zero_grad() does.
"""

_ENTRY = f"{__package__}.forkserver"  # named and not imported: the front is to stay small
_LAUNCH_TIMEOUT_S, _PRELOAD_TIMEOUT_S, _CLOSE_TIMEOUT_S = 30.0, 180.0, 2.0


class ForkServerGone(Exception):
    """The fork server has died and could not be started again."""


class ForkServerProcess:
    """One fork server, started on first use."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._modules = list(LIGHT_MODULES)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    async def launch(self, folder: Path, epoch: int, env: Mapping[str, str]) -> int:
        """Forks a supervisor; its pid. Raises ForkServerGone."""
        request = {"folder": str(folder), "epoch": epoch, "env": dict(env)}
        return int((await self._ask(request, _LAUNCH_TIMEOUT_S))["pid"])

    async def preload(self, modules: Sequence[str]) -> None:
        """Imports modules there, and again in each successor. Raises ForkServerGone."""
        new = [name for name in modules if name not in self._modules]
        self._modules += new
        await self._ask({"preload": new}, _PRELOAD_TIMEOUT_S)

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        async with self._turn:
            for _ in range(2):  # the first may find it dead: its successor gets the request again
                try:
                    return await self._exchange(request, timeout_s)
                except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
                    await self._end()
            raise ForkServerGone

    async def _exchange(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if self.pid is None:
            await self._start()
            timeout_s += _PRELOAD_TIMEOUT_S
        assert self._reader is not None and self._writer is not None
        self._writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(timeout_s):
            await self._writer.drain()
            reply = json.loads(await self._line())
        if "error" in reply:
            raise OSError(reply["error"])
        return dict(reply)

    async def _line(self) -> bytes:
        """What it says next. Raises TimeoutError if it is stopped, as a run may have done."""
        assert self._reader is not None
        standstill = Standstill(RUN_LOOKS)
        saying = asyncio.ensure_future(self._reader.readuntil(b"\n"))
        try:
            while not (await asyncio.wait({saying}, timeout=APART_S))[0]:
                stat = None if self.pid is None else read_stat(self.pid)
                if standstill.look(stat is not None and stat.state == "T"):
                    raise TimeoutError("the fork server was stopped by a signal")
            return saying.result()
        finally:
            saying.cancel()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.to_thread(self._spawn, theirs.fileno())
        finally:
            theirs.close()
        ours.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", _ENTRY, "--fd", str(descriptor)]
        command += ["--preload", *self._modules]
        log = None if self._log is None else self._log.open("ab")
        try:
            return subprocess.Popen(
                command,
                env=_environment(),
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=log or 2,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the server's terminal is not for it
            )
        finally:
            if log is not None:
                log.close()

    async def _end(self) -> None:
        """Closes the socket, at which it ends by itself; kills it if it does not."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        if self._process is not None:
            await asyncio.to_thread(_wait_or_kill, self._process)
        self._process = self._reader = self._writer = None


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_CLOSE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Nothing of the server's but what imports need; a run gets its own with the launch."""
    # OpenBLAS (numpy) starts its threads on import, and a fork loses them; our runs' matrix
    # products are torch's, which is told its number of threads in each run.
    # libgomp reads its policy when torch loads it. Its waiting threads spin otherwise, which on
    # busy cores takes 640 ms a training step, not 40 (two threads, two cores, one other process).
    policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    return {
        **plain_environment(os.environ),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": policy,
        **placeholders(),
    }
