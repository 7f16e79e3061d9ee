"""A worker: holds one model, answers the front. `python -m modelyard.serving.worker --fd N`.

The main thread loads and predicts (plugins and CUDA expect it), a side thread answers describe and
validate, so that these do not wait for a prediction, and a reader thread takes messages off the
socket. The process ends when its socket does: with the front, however that ends. Python 3.8 syntax,
standard library and marshmallow only.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from .. import errors
from ..models_plugin.device import resolve_device
from ..models_plugin.loading import open_plugin
from ..models_plugin.plugin import Plugin, PluginSource
from ..models_plugin.refusals import told
from ..schemas.transport import RequestData
from . import messages
from .failures import failed
from .frames import FrameReader

_HIGH_FD = 900  # plugins that close "all" descriptors rarely go so far
_PR_SET_PDEATHSIG = 1  # prctl(2)
_CHUNK = 1 << 20


class Worker:
    """One plugin behind one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._work: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()
        self._questions: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()
        self._plugin: Plugin | None = None

    def run(self) -> None:
        """Serves until the process ends; the reader thread ends it with the socket."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        threading.Thread(target=self._answer_questions, name="questions", daemon=True).start()
        while True:
            try:
                self._do(self._work.get())
            except KeyboardInterrupt:  # a plugin's late interrupt must not end the loop
                continue

    # -- the main thread ----------------------------------------------------------------------

    def _do(self, message: messages.Message) -> None:
        if isinstance(message, messages.Start):
            self._guard(message, self._start)
        elif isinstance(message, messages.Load):
            self._guard(message, self._load)
        elif isinstance(message, messages.Predict):
            batch = [message]
            while batch[-1].more:
                following = self._work.get()
                assert isinstance(following, messages.Predict)
                batch.append(following)
            self._predict(batch)

    def _start(self, message: Any) -> messages.Message:
        if message.format != messages.FORMAT:
            raise errors.PluginFailed("This worker is of another release than the server.")
        self._plugin = open_plugin(PluginSource.from_data(message.source))
        return self._described(message)

    def _load(self, message: Any) -> messages.Message:
        folder = None if message.weights is None else Path(message.weights)
        self._opened().load(folder, resolve_device(message.device))
        return messages.Done(message.id)

    def _predict(self, batch: list[messages.Predict]) -> None:
        calls: list[tuple[messages.Predict, Any]] = []
        for message in batch:
            try:
                request = RequestData.from_data(message.request, message.body)
                calls.append((message, self._opened().arguments("predict", request)))
            except errors.ModelyardError as error:
                self._send(failed(message.id, error))
        if len(calls) > 1:
            try:
                results = self._opened().predict_batch([arguments for _, arguments in calls])
            except errors.ModelyardError:
                results = None  # one by one: only the guilty call is to fail
            if results is not None:
                for (message, arguments), result in zip(calls, results):  # noqa: B905 - Python 3.8
                    self._guard(message, lambda m, a=arguments, r=result: self._encode(m, a, r))
                return
        for message, arguments in calls:
            self._guard(
                message, lambda m, a=arguments: self._encode(m, a, self._opened().predict(a))
            )

    def _encode(self, message: Any, arguments: Any, result: Any) -> messages.Message:
        answer = self._opened().answer("predict", result, arguments, Path(message.folder))
        return messages.Answered(
            message.id, answer.content_type, answer.path, answer.filename, answer.body
        )

    # -- the side thread ----------------------------------------------------------------------

    def _answer_questions(self) -> None:
        while True:
            message = self._questions.get()
            if isinstance(message, messages.Describe):
                self._guard(message, self._described)
            else:
                self._guard(message, self._validate)

    def _described(self, message: messages.Message) -> messages.Message:
        plugin = self._opened()
        return messages.Described(message.id, plugin.describe().to_data(), plugin.max_batch)

    def _validate(self, message: Any) -> messages.Message:
        request = RequestData.from_data(message.request, message.body)
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

    # -- the socket ---------------------------------------------------------------------------

    def _guard(self, message: messages.Message, do: Any) -> None:
        """Answers with what `do` returns, or with the error it raises, whatever that is."""
        try:
            answer = do(message)
        except errors.ModelyardError as error:
            answer = failed(message.id, error)
        except BaseException as error:
            answer = failed(message.id, told(error, "answering"))
        self._send(answer)

    def _send(self, message: messages.Message) -> None:
        frame = messages.pack(message)
        with self._sending:
            try:
                self._connection.sendall(frame)
            except OSError:
                os._exit(0)

    def _read(self) -> None:
        reader = FrameReader()
        while True:
            try:
                data = self._connection.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                # The front is gone or wants us gone. Plugin threads may hang: no clean exit.
                os._exit(0)
            for header, body in reader.feed(data):
                message = messages.unpack(header, body)
                questions = isinstance(message, (messages.Describe, messages.Validate))
                (self._questions if questions else self._work).put(message)


def main() -> None:
    """The entry of the process; the front passes the socket's descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != arguments.parent:  # it died before the line above
        sys.exit(0)
    high = fcntl.fcntl(arguments.fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    os.close(arguments.fd)
    Worker(socket.socket(fileno=high)).run()


if __name__ == "__main__":
    main()
