"""Which CPUs a child of the front may use. Runs in the front."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def started_on(cpus: Sequence[int] | None) -> Iterator[None]:
    """What this thread starts in the block may use these CPUs alone; None: all of ours.

    The set is inherited (sched_setaffinity(2)), by all that the child starts too: so it holds from
    the child's first instruction on, in any interpreter, before its libraries count their CPUs.
    The thread itself is back on its own afterwards. If none of them is there any more (a container
    lost them), the child gets all of ours: better than no model.
    """
    ours = os.sched_getaffinity(0)
    wanted = ours.intersection(cpus or ())
    if not wanted or wanted == ours:
        yield
        return
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
