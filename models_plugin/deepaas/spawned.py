"""Processes that an old module spawns: its imports and keywords are to work there too.

A forked child has them; one that multiprocessing spawns is a new interpreter, which runs the main
module of its parent again under the name `__mp_main__` before it imports what it is to call.
Python 3.8 syntax.
"""

from __future__ import annotations

import os

VARIABLE = "MODELYARD_DEEPAAS_MODULE"
"""Set in the process of an old module, and so in its children: the module's name."""


def ready_spawned_child() -> None:
    """For main modules, where they are run as `__mp_main__`."""
    name = os.environ.get(VARIABLE)
    if name:
        from .adapter import prepare

        prepare(name)
