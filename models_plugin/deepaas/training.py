"""Around an old module's train(), which knows of no run: what it writes and says is found.

Runs in the run process. Python 3.8 syntax, standard library only.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from ..contract import Run
from .event_folders import EventFolders
from .hearing import Hearing
from .model_files import ModelFiles
from .stand_ins import StandIns

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def train(run: Run, call: Callable[[], Any]) -> Any:
    """The result of the module's own train(), which `call` runs; what that raises passes through.

    Folders with its event files are watched, and files that it wrote and named become the run's
    checkpoint, and so a version. Nothing of that fails the training: the log or a note tells it.
    """
    _have_logging_shown()
    files = ModelFiles(run)
    with StandIns(run) as stand_ins:
        hearing = Hearing(stand_ins.ask, stand_ins.heard)
        with EventFolders(run, hearing, stand_ins), hearing:
            result = call()
    files.keep(result, hearing)
    return result


def _have_logging_shown() -> None:
    """Modules rely on DEEPaaS having set it up; one that has done so itself is left alone."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
