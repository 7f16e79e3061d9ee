"""Standard input, output and error of our commands where they are closed, or take nothing more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def open_closed_streams() -> None:
    """Puts `/dev/null` in the place of each of the three that is closed. To be called first thing.

    Else the next file that is opened gets its number, the event loop's or a home's records, say:
    what libraries print would go there, and a child process that gets a stream of its own in that
    place begins with a descriptor that is none.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:  # as Python leaves one that was closed when it began
            mode = "r" if number == 0 else "w"
            opened = open(number, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, opened)


def let_go(stream: TextIO) -> None:
    """What was not written yet, and all that is written from now on, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    with suppress(OSError):
        stream.flush()


def end_streams() -> None:
    """What cannot be written is no reason for Python to end with 120. To be called last."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            let_go(stream)
