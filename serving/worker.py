"""A worker: holds one model, answers the front. Started by it, and runnable by hand.

    python -m modelyard.serving.worker --fd N --side-fd M --parent PID

The main thread loads and predicts (plugins and CUDA expect it), and reads its own socket: a call
costs one wake-up and no hand-over between threads, which would cost more than the rest of it. A
side thread has a socket of its own and answers describe and validate, so that these do not wait
for a prediction. The process ends when a socket does: with the front, however that ends. Python
3.8 syntax, standard library and marshmallow only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import faulthandler
import itertools
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from os import _exit
from pathlib import Path
from typing import Any, NamedTuple

from .. import errors
from ..models_plugin.aftercare import out_of_reach
from ..models_plugin.answers import head_of
from ..models_plugin.device import resolve_device
from ..models_plugin.loading import open_plugin
from ..models_plugin.memory import limit_memory
from ..models_plugin.plugin import Plugin, PluginSource
from ..models_plugin.redaction import hide_in_output, hide_in_words, hiding, install_output
from ..models_plugin.refusals import told
from ..models_plugin.scratch import use_temporary_folder
from ..models_plugin.tracing import traced
from ..schemas.transport import RequestData
from . import messages
from .failures import failed, failed_safely, secret_texts
from .frames import BrokenFrame, FrameReader, Parcel, receive, send
from .surroundings import Surroundings
from .sweep import NAME, seal
from .temporary import TemporaryFiles

_PR_SET_PDEATHSIG = 1  # prctl(2)
_CHUNK = 1 << 16


class Connection:
    """Messages over one of the two sockets, for the one thread that has it."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=out_of_reach(fd))
        os.close(fd)
        self._reader = FrameReader()
        self._arrived: deque[tuple[bytes, bytes]] = deque()
        self._held: list[Parcel] | None = None
        # A child that the plugin forks, and that comes back to us, is not to answer as if it were
        # this process, nor to take messages from it: its use of the connection ends it.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._socket.close)

    def read(self) -> messages.Message:
        """The next message. Ends the process if the front is gone, or wants us gone."""
        while not self._arrived:
            lost = None
            try:
                data, fds = receive(self._socket, _CHUNK)
                self._arrived.extend(self._reader.feed(data, fds))
            except (OSError, BrokenFrame) as error:
                data, lost = b"", error
            if not data:
                leave(lost)
        return messages.unpack(*self._arrived.popleft())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent in the block leaves when it ends, all at once: each time costs a system
        call here, and wakes the front there."""
        held: list[Parcel] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            self._send(held)

    def send(self, message: messages.Message) -> None:
        """Sends; what has no JSON form becomes an error in its place."""
        try:
            parcels = messages.pack_all([message])
        except (TypeError, ValueError, RecursionError) as error:
            parcels = messages.pack_all([failed(message.id, told(error, "answering"))])
        if self._held is None:
            self._send(parcels)
        else:
            self._held += parcels

    def _send(self, parcels: list[Parcel]) -> None:
        """Those without a descriptor in one piece, as far as they follow each other."""
        try:
            for shared, group in itertools.groupby(parcels, lambda parcel: parcel[1] is not None):
                if not shared:
                    self._socket.sendall(b"".join(data for data, _ in group))
                    continue
                for data, fd in group:
                    count = self._send_shared(data, fd)
                    os.close(fd)  # type: ignore[arg-type]
                    self._socket.sendall(data[count:])
        except OSError as error:
            leave(error)

    def _send_shared(self, data: bytes, fd: int | None) -> int:
        while True:
            try:
                return send(self._socket, data, fd)
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS:  # unix(7): the front has not read the others
                    raise
                time.sleep(0.005)


class _Asked(NamedTuple):
    """A call with its request as it was read: that may say how the answer is to be written."""

    id: int
    message: messages.Predict
    request: RequestData


class Timing:
    """How long a batch takes, for its last answer; `last` None: for no answer.

    `began` is time.perf_counter's. A batch that had to be tried again tells nothing.
    """

    def __init__(self, began: float, last: messages.Predict | None) -> None:
        self.began = began
        self.last = last
        self.forward_s = 0.0

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """Counts the block as the plugin's own."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.forward_s += time.perf_counter() - started


class Worker:
    """One plugin behind two sockets."""

    def __init__(self, main: Connection, side: Connection) -> None:
        self._main = main
        self._side = side
        self._surroundings = Surroundings()
        self._plugin: Plugin | None = None
        self._temporary: TemporaryFiles | None = None
        self._spoiled = False

    def run(self) -> None:
        """Serves until the process ends; the threads end it with their sockets."""
        threading.Thread(target=self._answer_questions, name="questions", daemon=True).start()
        try:
            self._serve()
        finally:  # it cannot even handle what was raised: a call has changed what it needs
            _exit(messages.SPOILED)

    def _serve(self) -> None:
        while True:
            try:
                self._do(self._main.read())
            except KeyboardInterrupt:  # a plugin's late interrupt must not end the loop
                continue
            except BaseException:  # our code cannot even tell what is wrong: see `_guard`
                with contextlib.suppress(BaseException):
                    traceback.print_exc()
                self._spoiled = True
            if self._spoiled:  # at once: the interpreter's own end needs more than is left, perhaps
                _exit(messages.SPOILED)

    # -- the main thread ----------------------------------------------------------------------

    def _do(self, message: messages.Message) -> None:
        if isinstance(message, messages.Start):
            self._guard(message, self._start)
        elif isinstance(message, messages.Load):
            self._guard(message, self._load)
        elif isinstance(message, messages.Predict):
            batch = [message]
            while batch[-1].more:
                following = self._main.read()
                assert isinstance(following, messages.Predict)
                batch.append(following)
            traces = [one.trace for one in batch]
            with traced(traces) if any(traces) else contextlib.nullcontext():
                if len(batch) == 1:
                    self._predict(batch)
                else:
                    with self._main.together():
                        self._predict(batch)
            hide_in_output(None)
            self._spoiled = not self._surroundings.restore() or self._spoiled
            if self._temporary is not None:
                self._temporary.busy = False

    def _start(self, message: Any) -> messages.Message:
        if message.format != messages.FORMAT:
            raise errors.PluginFailed("This worker is of another release than the server.")
        if message.temporary is not None and os.environ.get("TMPDIR") == message.temporary:
            self._temporary = TemporaryFiles(message.temporary)
        limit_memory(message.memory_limit)
        sys.path.extend(entry for entry in message.path if entry not in sys.path)
        self._plugin = open_plugin(PluginSource.from_data(message.source))
        self._plugin.answer_limit = message.answer_limit
        return self._described(message)

    def _load(self, message: Any) -> messages.Message:
        folder = None if message.weights is None else Path(message.weights)
        self._opened().load(folder, resolve_device(message.device), message.warm)
        self._surroundings.remember()
        if self._temporary is not None:
            self._temporary.begin()
        return messages.Done(message.id)

    def _predict(self, batch: list[messages.Predict]) -> None:
        began = time.perf_counter()
        if self._temporary is not None:
            self._temporary.busy = True
        calls: list[tuple[_Asked, Any]] = []
        secret: list[str] = []
        for message in batch:
            try:
                request = RequestData.from_data(message.request, message.body)
                asked = _Asked(message.id, message, request)
                if texts := secret_texts(self._plugin, asked):
                    secret += texts
                    hide_in_output(hiding(texts))
                calls.append((asked, self._opened().arguments("predict", request)))
            except BaseException as error:
                self._main.send(self._told(message, error))
        if secret:
            hide_in_output(hiding(secret))
        timing = Timing(began, calls[-1][0].message if calls else None)
        if len(calls) > 1:
            try:
                with timing.forward():
                    results = self._opened().predict_batch([arguments for _, arguments in calls])
            except errors.ModelyardError:
                results, timing.last = None, None  # one by one: only the guilty call is to fail
            if results is not None:
                self._surroundings.restore_umask()
                for (asked, arguments), result in zip(calls, results):  # noqa: B905 - Python 3.8
                    self._guard(
                        asked, lambda c, a=arguments, r=result: self._encode(c, a, r, timing)
                    )
                return
        for place, (asked, arguments) in enumerate(calls):
            if place:  # what the call before has replaced is not to harm this one
                self._surroundings.restore_functions()
            self._guard(asked, lambda c, a=arguments: self._answer_one(c, a, timing))

    def _answer_one(self, asked: _Asked, arguments: Any, timing: Timing) -> messages.Message:
        with timing.forward():
            result = self._opened().predict(arguments)
        self._surroundings.restore_umask()
        return self._encode(asked, arguments, result, timing)

    def _encode(
        self, asked: _Asked, arguments: Any, result: Any, timing: Timing
    ) -> messages.Message:
        folder = asked.message.folder
        answer = self._opened().answer("predict", result, arguments, folder, asked.request)
        content_type, filename = head_of(answer)
        last = asked.message is timing.last
        made = answer.path is not None or (bool(asked.request.parts) and Path(folder).is_dir())
        return messages.Answered(
            asked.id,
            content_type,
            answer.path,
            filename,
            answer.body,
            time.perf_counter() - timing.began if last else 0.0,
            timing.forward_s if last else 0.0,
            answer.headers,
            made,
        )

    # -- the side thread ----------------------------------------------------------------------

    def _answer_questions(self) -> None:
        while True:
            message = self._side.read()
            do = self._described if isinstance(message, messages.Describe) else self._validate
            try:
                self._guard(message, do, self._side)
            except BaseException:  # no memory for so long an answer, say: a short one is told
                self._cannot_answer(message)

    def _cannot_answer(self, message: messages.Message) -> None:
        """This thread has to go on: nobody else reads what is asked here."""
        try:
            told = errors.PluginFailed("The model's process could not tell its answer.")
            self._side.send(failed(message.id, told))
        except BaseException:
            _exit(messages.SPOILED)

    def _described(self, message: messages.Message) -> messages.Message:
        plugin = self._opened()
        return messages.Described(message.id, plugin.describe().to_data(), plugin.max_batch)

    def _validate(self, message: Any) -> messages.Message:
        request = RequestData.from_data(message.request, message.body)
        hide_in_words(hiding(self._opened().secret_texts(message.which, request)))
        arguments = self._opened().arguments(message.which, request)
        return messages.Validated(
            message.id,
            self._opened().record_of(message.which, arguments),
            self._opened().secrets_of(message.which, arguments),
        )

    def _opened(self) -> Plugin:
        if self._plugin is None:
            raise errors.ModelUnavailable("The model is not imported yet.")
        return self._plugin

    def _told(self, asked: Any, error: BaseException) -> messages.Failed:
        return failed_safely(self._plugin, asked, error)

    def _guard(self, message: Any, do: Any, connection: Connection | None = None) -> None:
        """Answers with what `do` returns, or with the error it raises, whatever that is."""
        try:
            answer = do(message)
        except BaseException as error:
            answer = self._told(message, error)
            # The plugin's own exceptions come as errors of our family. What is left is our code's:
            # it cannot do here what it can elsewhere, since a call has changed what it needs.
            ours = isinstance(error, Exception) and not isinstance(error, errors.ModelyardError)
            self._spoiled = self._spoiled or ours
        (connection or self._main).send(answer)


# -- the process -------------------------------------------------------------------------------


def leave(error: Exception | None = None) -> None:
    """Ends the process, and what its plugin started. Plugin threads may hang: no clean exit.

    `error` is why the connection is of no more use; None: it has ended. The front, if it is there,
    ends what the plugin started.
    """
    if isinstance(error, OSError) and error.errno in (errno.EBADF, errno.ENOTSOCK):
        _exit(messages.LOST)
    if isinstance(error, BrokenFrame):  # the front sends none: it is the reading that was changed
        _exit(messages.SPOILED)
    if os.getpgrp() == os.getpid():  # not so when run by hand, nor in a child of the plugin's
        os.killpg(os.getpid(), signal.SIGKILL)
    _exit(0)


def begin(parent: int) -> None:
    """The first moments of a child of the front: it ends with `parent`, and its crash is logged."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(0)
    seal(os.environ.get(NAME, ""))  # before any code of the model's
    use_temporary_folder()
    install_output()  # by lines: what was printed before a crash is in the log too
    faulthandler.enable()  # the stack of a crash goes to the log


def main() -> None:
    """The entry of the process; the front passes the sockets' descriptors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--side-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    begin(arguments.parent)
    Worker(Connection(arguments.fd), Connection(arguments.side_fd)).run()


if __name__ == "__mp_main__":  # in a process that an old module spawned
    from ..models_plugin.deepaas.preparing import ready_spawned_child

    ready_spawned_child()
elif __name__ == "__main__":
    main()
