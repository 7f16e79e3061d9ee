"""What a call may change of its process and the next one relies on, put back. Runs in the worker.

Output, timers and limits (`aftercare.py`), folder, temporary folder, umask, blocked signals,
handlers of the usual signals, and those functions of Python and of libraries that everybody uses
(`originals.py`). What a plugin keeps in its own memory (its globals, its `os.environ`) stays as it
leaves it: plugins keep settings and caches there. What it replaced while it was imported or loaded
was meant to be so, and stays too. About 15 µs a batch, after its answers have left. Standard
library only, Python 3.8 syntax.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its wrappers in `signal` make an enum of all they return: 5 µs instead of 0.1
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from ..clearing import make_folder
from ..models_plugin.aftercare import Aftercare
from ..models_plugin.originals import Originals
from ..models_plugin.scratch import use_temporary_folder

_MOST_TOLD = 20  # names in a line of the log
_SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGALRM),
    *(signal.SIGVTALRM, signal.SIGPROF, signal.SIGXFSZ, signal.SIGXCPU),
)


class Surroundings:
    """See the module; `remember` when the model is loaded, `restore` after a batch."""

    def __init__(self) -> None:
        self._aftercare = Aftercare()
        self._originals = Originals()
        self._told: set[str] = set()
        self.remember()

    def remember(self) -> None:
        """All as it is now."""
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        try:
            self._folder = str(Path.cwd())
        except FileNotFoundError:
            self._folder = "/"
        self._temporary = tempfile.tempdir
        self._mask = _signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = [(int(number), _signal.getsignal(number)) for number in _SIGNALS]
        self._aftercare.remember()
        self._originals.remember()

    def restore_functions(self) -> None:
        """What the model's code has replaced; the worker's log tells it, once for each name."""
        changed = self._originals.put_back()
        if changed and not self._told.issuperset(changed):
            self._told.update(changed)
            with contextlib.suppress(Exception):
                names = ", ".join(changed[:_MOST_TOLD])
                print(f"A call had replaced {names}: put back.", file=sys.stderr, flush=True)

    def restore_umask(self) -> None:
        """Before files are made for the front, which could not read them otherwise."""
        os.umask(self.umask)

    def restore(self) -> bool:
        """After a batch; False if not all of it can be put back: the process is to be replaced."""
        self.restore_functions()  # first: the rest uses some of them
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers:
            if _signal.getsignal(number) != handler and handler is not None:
                _signal.signal(number, handler)
        whole = self._aftercare.restore()
        self.restore_umask()
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        if self._temporary is not None and not os.access(self._temporary, os.F_OK):
            with contextlib.suppress(OSError):
                make_folder(self._temporary)
                use_temporary_folder()
        return whole
