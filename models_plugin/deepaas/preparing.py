"""Makes a process one in which an old module's imports and keywords work. Python 3.8 syntax."""

from __future__ import annotations

import os

from .oldstyle import translate
from .supplied import supply
from .web_exceptions import forgive_reasons

VARIABLE = "MODELYARD_DEEPAAS_MODULE"
"""Set in the process of an old module, and so in its children: the module's name."""


def prepare(name: str) -> None:
    """Changes this process for the module of this name. To be called before its import."""
    os.environ[VARIABLE] = name
    translate()
    supply(name)
    forgive_reasons()


def ready_spawned_child() -> None:
    """The same in a process that the module spawns; for main modules that run as `__mp_main__`.

    A forked child has it all; one that multiprocessing spawns is a new interpreter, which runs the
    main module of its parent again, under that name, before it imports what it is to call.
    """
    name = os.environ.get(VARIABLE)
    if name:
        prepare(name)
