"""The fork server: has torch and our training modules imported, and forks supervisors.

    python -m modelyard.training.forkserver --fd N [--preload MODULE ...]

Started by exec, so that it holds nothing of the server. It only imports: no operation, no OpenMP
region, no thread and no CUDA context comes before a fork, since none of them survives one. It ends
when its socket does; the supervisors live on. Requests and replies are JSON lines.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import supervisor
from .child import SIGNALS
from .kernel import set_name
from .marker import mark, marks
from .paths import RunPaths

_REDIRECTED = (1, 2)


class ForkServer:
    """Serves one socket until it is closed at the other end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended supervisors leave no zombies
        with self._channel.makefile("rb") as lines:
            for line in lines:
                self._channel.sendall(json.dumps(self._answer(json.loads(line))).encode() + b"\n")

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if "preload" in request:
                failed = preload(request["preload"])
                return {"failed": failed, "threads": len(list(Path("/proc/self/task").iterdir()))}
            return {"pid": self._launch(request)}
        except OSError as error:
            return {"error": str(error)}

    def _launch(self, request: Mapping[str, Any]) -> int:
        # Blocked before the fork: a signal to a supervisor that cannot take it yet would end it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_supervisor(request)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _become_supervisor(self, request: Mapping[str, Any]) -> None:
        code = 1
        try:
            folder = Path(request["folder"])
            mark(folder)
            os.setsid()
            close_all()
            log_to(RunPaths(folder).supervisor_log)
            take_environment({**request["env"], **marks(folder)})
            code = supervisor.supervise(folder, request["epoch"])
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)


def preload(modules: Iterable[str]) -> dict[str, str]:
    """Imports modules for all later forks; those that cannot be imported, with the reason."""
    failed = {}
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a third-party module raises: runs start without it
            failed[name] = f"{type(error).__name__}: {error}"
    gc.collect()
    gc.freeze()  # what is here now stays; a collection in a child need not touch (copy) its pages
    return failed


def close_all() -> None:
    """Closes all but the standard streams: our socket, and what a preloaded module opened."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - for speed
        if int(name) > 2:
            with suppress(OSError):  # the one that this listing had
                os.close(int(name))


def log_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in _REDIRECTED:
        os.dup2(descriptor, number)
    if descriptor not in _REDIRECTED:
        os.close(descriptor)


def take_environment(environment: Mapping[str, str]) -> None:
    """Makes `environment` this process's, with what Python reads of it only at its start."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    new = [entry for entry in entries if entry not in sys.path]
    sys.path[1:1] = new
    for entry in new:  # importlib.invalidate_caches() would touch every package: 5 ms
        sys.path_importer_cache.pop(entry, None)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m modelyard.training.forkserver")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--preload", nargs="*", default=[])
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes us
    set_name("modelyard-fork")
    channel = socket.socket(fileno=options.fd)
    channel.set_inheritable(False)
    preload(options.preload)
    with suppress(ConnectionError):
        ForkServer(channel).serve()
    return 0


if __name__ == "__mp_main__":  # in a process that an old module spawned
    from ..models_plugin.deepaas.preparing import ready_spawned_child

    ready_spawned_child()
elif __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
