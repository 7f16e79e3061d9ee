"""The front's end of the line to the storage process: starts it, asks, notices its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreUnavailable
from ..records.home import Home
from ..seclusion import plain_environment
from ..standstill import end, kill_if_stopped
from .wire import LINE_LIMIT, decode, encode, error_from

IDLE_S = 60.0
"""The process is ended when nothing was asked for so long."""
_CLOSE_S = 5.0  # a process whose input was closed is killed after so long

log = logging.getLogger(__name__)


class _Child:
    """One storage process, with the questions that it has not answered."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.questions: dict[int, asyncio.Queue[dict[str, Any] | StoreUnavailable]] = {}
        self.ended = False
        self.reader = asyncio.create_task(self._read())
        self._watch = asyncio.create_task(self._look())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            while line := await self.process.stdout.readline():
                message = decode(line)
                if (queue := self.questions.get(message["id"])) is not None:
                    queue.put_nowait(message)
        except (ValueError, KeyError, RecursionError, OSError):  # no message: nothing holds
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        finally:
            self.ended = True
            self._watch.cancel()
            for queue in self.questions.values():
                queue.put_nowait(StoreUnavailable("The storage process ended during the call."))

    async def _look(self) -> None:
        if await kill_if_stopped(self.process):
            log.warning("the storage process was stopped by a signal and is ended; work goes on")

    async def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        # A process that died is noticed by the reader, who tells every question.
        with contextlib.suppress(ConnectionError, RuntimeError):
            self.process.stdin.write(encode(message))
            await self.process.stdin.drain()

    async def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), _CLOSE_S)
        except TimeoutError:
            await end(self.process, self.reader)
        await self.reader


class StorageLine:
    """Questions to the storage process, whichever process that is at the moment.

    Used on one event loop, that of the thread which lives as long as the front: the process gets
    PR_SET_PDEATHSIG, which fires when the *thread* that forked it ends (prctl(2)).
    """

    def __init__(self, url: str, home: Home, environ: Mapping[str, str], log: Path) -> None:
        self._url, self._home, self._environ, self._log = url, home, dict(environ), log
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._next = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._child is None or self._child.ended else self._child.process.pid

    async def ask(
        self,
        op: str,
        arguments: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """The answer. Raises what the process answers with, StoreUnavailable if it dies."""
        async with contextlib.aclosing(self._messages(op, arguments or {})) as messages:
            async for message in messages:
                if "done" in message:
                    return message["done"]
                if progress is not None and "progress" in message:
                    progress(*message["progress"])
        raise StoreUnavailable("The storage process gave no answer.")

    async def pages(
        self, op: str, arguments: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The pages of an answer; the next is made when it is asked for."""
        async with contextlib.aclosing(self._messages(op, arguments)) as messages:
            async for message in messages:
                if "page" in message:
                    yield message["page"]
                elif "done" in message:
                    return

    async def close(self) -> None:
        """Ends the process."""
        self._closed = True
        self._rest()
        if self._idle is not None:
            self._idle.cancel()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _messages(
        self, op: str, arguments: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        child = await self._ready()
        self._next += 1
        number = self._next
        queue: asyncio.Queue[dict[str, Any] | StoreUnavailable] = asyncio.Queue()
        child.questions[number] = queue
        answered = False
        try:
            await child.send({"id": number, "op": op, "arguments": arguments})
            while not answered:
                if child.ended and queue.empty():
                    raise StoreUnavailable("The storage process ended during the call.")
                message = await queue.get()
                if isinstance(message, StoreUnavailable):
                    answered = True
                    raise message
                answered = "done" in message or "error" in message
                if "error" in message:
                    raise error_from(message["error"])
                yield message
                if "page" in message:
                    await child.send({"id": number, "op": "more"})
        finally:
            del child.questions[number]
            if not answered and not child.ended:
                await child.send({"id": number, "op": "cancel"})
            self._look_at_idleness(child)

    async def _ready(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise StoreUnavailable("The server is stopping.")
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            if self._child is None or self._child.ended:
                self._child = await self._start()
            return self._child

    async def _start(self) -> _Child:
        folder = self._home.root / "store"
        folder.mkdir(mode=0o700, exist_ok=True)
        with self._log.open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "modelyard.storage.process"),
                    *("--url", self._url),
                    *("--folder", str(folder), "--server", self._home.server_id),
                    *("--parent", str(os.getpid()), "--environment"),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=output,
                    # The rest, which opens the store, is its first line.
                    env=plain_environment(self._environ),
                    # Its own session: Ctrl-C in the front's terminal is the front's to handle.
                    start_new_session=True,
                    limit=LINE_LIMIT,
                )
            except OSError as error:
                raise StoreUnavailable(
                    f"The storage process cannot be started: {error.strerror}."
                ) from error
        child = _Child(process)
        await child.send(self._environ)
        return child

    def _look_at_idleness(self, child: _Child) -> None:
        if child is self._child and not child.questions and not self._closed:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._rest)

    def _rest(self) -> None:
        """The process is let go. A question that comes now starts another."""
        child, self._child = self._child, None
        if child is not None:
            task = asyncio.create_task(child.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
