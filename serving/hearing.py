"""Whether a worker still answers what it is asked beside its predictions. Runs in the front.

That is the work of a thread there (`worker.py`): where the model's own check of an argument, or its
description of itself, does not return, nothing else gets an answer from it, while predictions go
on. A thread cannot be ended from outside; the process can.
"""

from __future__ import annotations

import asyncio

from .process import WorkerProcess

_LOOK_S = 0.2
_SURE = 10  # looks at which nothing has kept its thread from answering


async def is_deaf(process: WorkerProcess) -> bool:
    """True once it is sure that a question of this process is answered no more; False as soon as
    one is, or the process has ended.

    A prediction that holds the interpreter's lock keeps the thread waiting, and may take long: so
    only those looks count at which there is none, or another one than at the look before.
    """
    heard, done, free = process.heard, process.done, 0
    while process.alive and process.owes and process.heard == heard:
        if not process.predicting or process.done != done:
            free += 1
            done = process.done
        if free > _SURE:
            process.deaf = True
            return True
        await asyncio.sleep(_LOOK_S)
    return False
