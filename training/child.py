"""The first moments of a run process, between the supervisor's fork and `process.main`."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ..models_plugin.interpreter import command
from ..models_plugin.memory import limit_memory
from . import process
from .claim import Claim
from .kernel import die_with_parent, lower_process, prefer_as_oom_victim, set_name
from .marker import marks
from .messages import RunOrder
from .paths import RunPaths, open_to_append, read_json

SIGNALS = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
"""What a supervisor waits for, and so has blocked; the run process takes them again."""


def become_run_process(paths: RunPaths, parent: int, claim: Claim, python: str | None) -> NoReturn:
    """Trains in this forked child, then ends it; `python` is the model's own interpreter."""
    code = 1
    try:
        die_with_parent(parent)
        claim.drop_in_child()
        os.setpgid(0, 0)  # a plugin's kill(0) reaches the run, not its supervisor
        set_name("modelyard-run")
        prefer_as_oom_victim()
        order = RunOrder.from_data(read_json(paths.run) or {})
        lower_process(order.nice)
        limit_memory(order.memory_limit)
        os.environ.update(process.thread_variables(order.threads))
        os.environ.update({**marks(paths.root), "PYTHONUNBUFFERED": "1"})
        _redirect(paths.log)
        _take_signals()
        if python is not None:
            os.execve(python, [*command(python, process.__name__), str(paths.root)], os.environ)
        code = process.main(paths.root)
        # As in a normal exit, but without waiting for threads that the plugin left running.
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _take_signals() -> None:
    for number in (*SIGNALS, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _redirect(log: Path) -> None:
    descriptor = open_to_append(log)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    os.close(descriptor)
    os.close(null)
