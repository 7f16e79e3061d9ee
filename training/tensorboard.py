"""The one TensorBoard child of the server, for all runs. Runs in the server.

Started by the first request, stopped with the server, started again if it has died. It listens on
a Unix socket only; `api/` proxies HTTP to it. What it shows is what `run_links` keeps in
HOME/tensorboard.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ..errors import Busy
from ..records.home import Home
from ..seclusion import plain_environment
from ..standstill import kill_if_stopped
from .run_links import RunLinks

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 60.0, 2.0
_LINKS_EVERY_S = 2.0
_SOCKET = "http"

log = logging.getLogger(__name__)


class TensorBoard:
    """Owns the child process. `path_prefix` is where it is served, such as `/tensorboard`."""

    def __init__(self, home: Home, path_prefix: str, deaf_after_s: float = 40.0) -> None:
        """One that answers nothing at all for `deaf_after_s` while somebody waits is ended."""
        self._home = home
        self._deaf_after_s = deaf_after_s
        self._path_prefix = path_prefix
        self._links = RunLinks(home.runs, home.tensorboard)
        self._linked_at = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._under_way = 0
        self._folder: Path | None = None
        self._handle = -1
        self._answers = False  # the child of now has answered once
        self._turn = asyncio.Lock()

    @property
    def _log(self) -> Path:
        return self._home.logs / "tensorboard.log"

    @property
    def pid(self) -> int | None:
        """None while no child runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def socket(self) -> Path:
        """The Unix socket on which it answers HTTP; starts it if need be (some seconds).

        Raises Busy if it does not start.
        """
        async with self._turn:
            if time.monotonic() > self._linked_at + _LINKS_EVERY_S:
                await asyncio.to_thread(self._links.refresh)
                self._linked_at = time.monotonic()
            if self.pid is None:
                await self._start()
            if not self._answers:  # who asked first may have gone while it started
                await self._until_it_answers()
            return self._socket_path()

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Path]:
        """For one request: the socket. Raises Busy as `socket` does.

        Some requests bring a regular expression (custom scalars, filters of hyperparameters), and
        while Python's engine is at one that never ends it, no thread of that process runs.
        """
        socket = await self.socket()
        self._under_way += 1
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._end_if_deaf())
        try:
            yield socket
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        async with self._turn:
            await self._stop()
            if self._folder is not None:
                os.close(self._handle)
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _socket_path(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tb-", dir=self._home.tmp))
            self._handle = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The kernel takes 107 bytes (unix(7)), however deep the home lies: by the open folder the
        # name is always short, and no socket has to be put elsewhere.
        return Path(f"/proc/self/fd/{self._handle}/{_SOCKET}")

    async def _start(self) -> None:
        socket = self._socket_path()
        assert self._folder is not None
        socket.unlink(missing_ok=True)
        self._answers = False
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", f"{__package__}.tensorboard_child"),
                *("--socket", str(self._folder / _SOCKET), "--logdir", str(self._home.tensorboard)),
                *("--path-prefix", self._path_prefix, "--parent", str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=plain_environment(os.environ),
                start_new_session=True,  # Ctrl-C in the server's terminal is not for it
            )
        self._watch = asyncio.create_task(self._end_if_stopped(self._process))

    async def _until_it_answers(self) -> None:
        end = time.monotonic() + _START_TIMEOUT_S
        while not await _answers(self._socket_path()):
            if self.pid is None or time.monotonic() > end:
                await self._stop()
                raise Busy(f"TensorBoard does not start; {self._log} says why.", retry_after_s=5)
            await asyncio.sleep(0.05)
        self._answers = True

    async def _end_if_deaf(self) -> None:
        while self._under_way:
            await asyncio.sleep(self._deaf_after_s / 8)
            process = self._process
            if not self._under_way or process is None or process.returncode is not None:
                return
            try:
                async with asyncio.timeout(self._deaf_after_s):
                    await _hear(self._socket_path())
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                self._forget(process)
                log.warning("TensorBoard answered nobody and is ended; the next request starts it")
                return
            except OSError:  # it ends in this moment
                return

    async def _end_if_stopped(self, process: asyncio.subprocess.Process) -> None:
        if await kill_if_stopped(process):
            self._forget(process)
            log.warning(
                "TensorBoard was stopped by a signal and is ended; the next request starts it"
            )

    def _forget(self, process: asyncio.subprocess.Process) -> None:
        """At its kill, not at its end: a request between the two gets the next one."""
        if self._process is process:
            self._process = None

    async def _stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        if self._watch is not None:
            self._watch.cancel()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _hear(socket: Path) -> None:
    """Returns when a request is answered that costs nothing: it is none of its addresses."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await reader.read(1)
    finally:
        writer.close()


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True
