"""One worker process, from the front: spawn, ask, notice its end. Runs in the front."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ..clearing import make_folder, remove_tree
from ..errors import ModelyardError, WorkerDied
from ..models_plugin.interpreter import command
from ..models_plugin.memory import family_of, pss_of, rss_of
from ..standstill import WATCH_S, Standstill, is_stopped
from .channel import Channel
from .exits import ENDED, HUNG_UP, OUT_OF_MEMORY, STOPPED, Exit, exit_of, memory_kills
from .failures import error_of
from .leftovers import Leftovers
from .messages import SPOILED, Describe, Failed, Message, Validate
from .placing import started_on

_ENTRY = f"{__package__}.worker"  # named and not imported: the front is to stay small
_HUNG_UP_S = 1.0  # a worker that hung up but lives is killed after so long
_GIVEN_UP_S = 2.0  # a killed worker that is still there hangs in the kernel
_TAIL = 4096  # bytes of its last output that are told with its end


Question = tuple[Message, Callable[[Message | ModelyardError], None]]
"""What is asked, and who is told the answer."""


class WorkerProcess:
    """A child with our ends of its two sockets. Every question has one answer, or the worker's end.

    One socket is for its main thread, which loads and predicts; the other for its side thread,
    which describes and validates meanwhile. `imported` and `max_batch` are what its plugin said.
    `python` is the interpreter of the model's own environment, `cpus` are those that it and what
    it starts may use (None: all of ours), `memory_limit` the bytes that they may have together (0:
    no limit); `leftovers` ends what it leaves; `temporary` is a folder that is made for it, and
    removed when it has ended. Raises WorkerDied if it cannot be started, for whatever reason: no
    descriptors, no memory, a full disk.
    Made on the event loop's own thread: PR_SET_PDEATHSIG fires when the *thread* that forked ends
    (prctl(2)), and this one lives as long as the front.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        on_end: Callable[[WorkerProcess], None],
        python: str | None = None,
        cpus: Sequence[int] | None = None,
        memory_limit: int = 0,
        leftovers: Leftovers | None = None,
        temporary: Path | None = None,
    ) -> None:
        self._leftovers = leftovers
        self._mark = {} if leftovers is None else leftovers.mark()
        self.temporary = temporary
        self.log = log
        try:
            ours, our_side = self._begin(environment, python, cpus)
        except OSError as error:
            raise WorkerDied(
                f"The model's process cannot be started: {error.strerror or error}."
            ) from error
        self.pid = self._child.pid
        self.imported = False
        self.max_batch = 1
        self.exit: Exit | None = None
        self._cause: Exit | None = None
        self._memory_kills = memory_kills()
        self.dismissed = False
        """True once the server has ended it in good order, for another one."""
        self._questions: dict[int, Callable[[Message | ModelyardError], None]] = {}
        self._aside: set[int] = set()
        self._next = 0
        self.heard = self.done = 0
        """Answers that it has given: to what it was asked beside its predictions, and to others."""
        self.deaf = False
        """True once it is sure that it answers nothing more beside its predictions."""
        self.on_end = on_end
        self._standstill = Standstill()
        self._memory_limit = memory_limit
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._exited)
        self._channel = Channel(ours, self._answered, self._hung_up, self._spoiled)
        self._side = Channel(our_side, self._answered, self._hung_up, self._spoiled)
        self._watch = self._loop.call_later(WATCH_S, self._look)

    def _begin(
        self, environment: Mapping[str, str], python: str | None, cpus: Sequence[int] | None
    ) -> tuple[socket.socket, socket.socket]:
        """Starts the child; our ends of its sockets. Raises WorkerDied and OSError: then nothing is
        left of it."""
        with contextlib.ExitStack() as undo:
            if self.temporary is not None:
                make_folder(self.temporary)
                undo.callback(remove_tree, self.temporary)
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                our_side, their_side = socket.socketpair()
                undo.callback(our_side.close)
                with their_side, self.log.open("ab") as output, started_on(cpus):
                    self._logged_from = output.tell()
                    fds = (theirs.fileno(), their_side.fileno())
                    self._child = self._spawned(environment, python, fds, output)
            undo.callback(self._child.wait)
            undo.callback(self._child.kill)
            self._pidfd = os.pidfd_open(self._child.pid)
            undo.pop_all()
        return ours, our_side

    def _spawned(
        self,
        environment: Mapping[str, str],
        python: str | None,
        fds: tuple[int, int],
        output: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        start = [*command(python, _ENTRY), "--parent", str(os.getpid())]
        try:
            return subprocess.Popen(
                [*start, "--fd", str(fds[0]), "--side-fd", str(fds[1])],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, **self._mark},
                # Its own session: Ctrl-C in the front's terminal is the front's to handle.
                start_new_session=True,
            )
        except OSError as error:  # the model's environment was removed, say
            interpreter = python or sys.executable
            raise WorkerDied(
                f"The model's process cannot be started with {interpreter}: {error.strerror}."
            ) from error

    @property
    def alive(self) -> bool:
        return not self._ended

    @property
    def owes(self) -> bool:
        """True if it has not answered all that it was asked beside its predictions."""
        return bool(self._aside)

    @property
    def predicting(self) -> bool:
        """True if its main thread has something to do: a prediction, or a load."""
        return len(self._questions) > len(self._aside)

    @property
    def unread(self) -> bool:
        """True if it ended before it had read what was asked last, to the end of that."""
        return self._ended and self._channel.unread

    def ask(self, message: Message, answer: Callable[[Message | ModelyardError], None]) -> None:
        """Sends a question; `answer` is called once: with its answer, or the error it ended in."""
        self.ask_all([(message, answer)])

    def ask_all(self, questions: list[Question]) -> None:
        """The same for several of one kind, which leave together."""
        if self._ended:
            for _, answer in questions:
                answer(self._death())
            return
        for message, answer in questions:
            self._next += 1
            message.id = self._next
            self._questions[message.id] = answer
        aside = isinstance(questions[0][0], (Describe, Validate))
        if aside:
            self._aside.update(message.id for message, _ in questions)
        (self._side if aside else self._channel).send(*(message for message, _ in questions))

    async def question(self, message: Message, timeout_s: float) -> Message:
        """The answer. Raises what the worker answers with, WorkerDied, and TimeoutError."""
        future: asyncio.Future[Message] = self._loop.create_future()

        def answered(answer: Message | ModelyardError) -> None:
            if future.done():
                return
            if isinstance(answer, ModelyardError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.ask(message, answered)
        return await asyncio.wait_for(future, timeout_s)

    def check(self) -> None:
        """Raises WorkerDied if it has ended, if only just after its last answer: whoever awaited
        that goes on later than whoever is told of the end."""
        if self._ended:
            raise self._death()

    def kill(self, cause: Exit | None = None) -> None:
        """Kills it; the words of `cause` are told to the calls that were in it."""
        if self._ended:
            return
        self._cause = self._cause or cause
        self._kill_group()

    def _kill_group(self) -> None:
        """It leads its own session: what its plugin started goes with it.

        Safe for as long as it has not been waited for: its number is not given to another.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def close(self, timeout_s: float = 3.0) -> None:
        """Hangs up, so that it ends by itself; kills it if it does not."""
        self._cause = self._cause or Exit(ENDED, "was ended by the server")
        self.dismissed = True
        self._channel.close()
        self._side.close()
        until = self._loop.time() + timeout_s
        while not self._ended and self._loop.time() < until:
            await asyncio.sleep(0.02)
        self.kill()
        until = self._loop.time() + _GIVEN_UP_S
        while not self._ended and self._loop.time() < until:
            await asyncio.sleep(0.01)

    # -- what happens -------------------------------------------------------------------------

    def _answered(self, message: Message) -> None:
        answer = self._questions.pop(message.id, None)
        if message.id in self._aside:
            self._aside.remove(message.id)
            self.heard += 1
        else:
            self.done += 1
        if answer is not None:
            answer(error_of(message) if isinstance(message, Failed) else message)

    def _hung_up(self) -> None:
        # Most likely it is dead and the kernel is about to say so; a plugin may also have closed
        # our descriptor, and then nothing but a new process helps.
        cause = Exit(HUNG_UP, "closed its connection to the server")
        self._loop.call_later(_HUNG_UP_S, self.kill, cause)

    def _spoiled(self) -> None:
        """What it sends cannot be read: told so, whatever ends it now that we hang up."""
        self.kill(exit_of(SPOILED))

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._ended = True
        self._watch.cancel()
        # An answer that it gave before it ended is an answer.
        self._channel.drain()
        self._side.drain()
        self._kill_group()
        if self._leftovers is not None:
            self._leftovers.over(self._mark)
        if self.temporary is not None:  # it may be large
            self._loop.run_in_executor(None, remove_tree, self.temporary)
        os.close(self._pidfd)
        code = self._child.wait()
        self.exit = self._cause or exit_of(code, memory_kills() != self._memory_kills)
        questions, self._questions = self._questions, {}
        death = self._death() if questions else None
        for answer in questions.values():
            assert death is not None
            answer(death)
        self.on_end(self)

    def _death(self) -> WorkerDied:
        words = "is ending" if self.exit is None else self.exit.words
        return WorkerDied(f"The model's process {words}.", traceback=self._last_words())

    def _last_words(self) -> str:
        """The end of what it printed: after a crash, the stack that faulthandler wrote."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                # A log that was cut in the meantime begins anew.
                start = self._logged_from if self._logged_from <= size else 0
                file.seek(max(start, size - _TAIL))
                return file.read(_TAIL).decode("utf-8", "replace")
        except OSError:
            return ""

    def _look(self) -> None:
        """Notices a stopped worker (SIGSTOP, a debugger), which would otherwise hold its calls; an
        idle one too, so that the next call does not wait for that."""
        self._watch = self._loop.call_later(WATCH_S, self._look)
        self._memory_kills = memory_kills()  # of those until now none is this one's end
        if self._standstill.look(is_stopped(self.pid)):
            self.kill(Exit(STOPPED, "was stopped by a signal and did not go on"))
            return
        if self._memory_limit and (used := _memory_of(self.pid, self._memory_limit)):
            told = (
                f"it had {used >> 20} MiB, and its memory_limit is {self._memory_limit >> 20} MiB"
            )
            self.kill(Exit(OUT_OF_MEMORY, f"ran out of memory: {told}"))


def _memory_of(pid: int, limit: int) -> int:
    """Bytes of a process and all that it has started, if they are more than `limit`; else 0.

    What its own limit does not see: several processes together, and shared memory.
    """
    family = family_of(pid)
    if sum(rss_of(one) for one in family) <= limit:
        return 0
    used = sum(pss_of(one) for one in family)
    return used if used > limit else 0
