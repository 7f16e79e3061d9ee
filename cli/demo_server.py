"""The demo's own server: a child process that ends with the demo, whatever ends the demo."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_STOP_S = 20.0  # seconds until a server that does not end is killed


class DemoServer:
    """`modelyard serve` as a child, in a session of its own.

    In one of its own, because Ctrl-C goes to a terminal's whole group: the demo has its word first.
    """

    def __init__(self, port: int, arguments: Sequence[str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._command = [
            sys.executable, "-P", "-m", "modelyard", "serve", "--host", "127.0.0.1",
            "--port", str(port), "--on-stop", "cancel", *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoServer:
        libc = ctypes.CDLL(None)

        def end_with_parent() -> None:
            # The one end that the parent cannot prepare for is its SIGKILL.
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,  # no other thread runs yet, and it only calls prctl
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process is not None else None

    def wait(self) -> int:
        """Returns when the server ends by itself; its exit code."""
        assert self._process is not None
        return self._process.wait()

    def last_words(self, lines: int = 20) -> str:
        """The end of what it wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else one that is free now."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no free port on 127.0.0.1")


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo like Ctrl-C, so that its server is ended too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
