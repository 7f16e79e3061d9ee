"""One prediction on its way, and the place of the worker that has it. Runs in the front."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..clearing import remove_tree
from ..errors import ModelyardError
from ..schemas.transport import RequestData
from .messages import Prediction
from .process import WorkerProcess
from .tracing import CallTrace

_SMALL = 16 * 1024
"""Bytes. Requests below are of one shape: their lengths tell of digits, not of work."""


class Owner(Protocol):
    """Who takes care of a call."""

    def gone(self, call: Call) -> None:
        """Nobody wants its answer any more."""


class Queue(Protocol):
    """Where a call may wait."""

    def remove(self, call: Call) -> bool:
        """False if it does not wait here."""


@dataclass(eq=False)
class Call:
    """One prediction on its way.

    `items` is what it counts for in a batch, `arrived` the loop's time; `timeout_s` is its
    deadline, from then; `came` is the same by time.perf_counter, which is finer. `queue` is where
    it waits. `batched`: it was sent together with others; `alone`: its batch killed a worker, so it
    goes by itself the next time.
    """

    request: RequestData
    payload: bytes
    folder: Path | str
    future: asyncio.Future[Prediction]
    timeout_s: float
    arrived: float
    owner: Owner
    items: int = 1
    timer: asyncio.TimerHandle | None = None
    batch: Batch | None = None
    queue: Queue | None = None
    batched: bool = False
    alone: bool = False
    trace: CallTrace | None = None
    came: float = field(default_factory=time.perf_counter)
    shape: Hashable = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.payload)
        self.shape = shape_of(self.request, self.items)

    async def answer(self) -> Prediction:
        """Raises what it is answered with. Cancelling it drops the call."""
        try:
            return await self.future
        except asyncio.CancelledError:
            self.leave()
            raise

    def leave(self) -> None:
        """The client has gone. Once."""
        self.future.cancel()
        self.owner.gone(self)

    def settle(self, result: Prediction | ModelyardError) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done():
            # The client has gone: what was made for it goes too.
            if not isinstance(result, Prediction) or result.made:
                remove_tree(self.folder)
        elif isinstance(result, ModelyardError):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def shape_of(request: RequestData, items: int) -> Hashable:
    """What calls must have in common to be one batch: about as many bytes an item, of one kind.

    Nobody looks into a request here; this is as near to the shape of its tensors as the front gets.
    """
    size, kind = len(request.body), ""
    if request.files or request.raw is not None:
        files = request.parts
        size += sum(file.size for file in files)
        kind = files[0].content_type
    each = size // max(1, items)
    return kind, 0 if each < _SMALL else each.bit_length() // 2


@dataclass(eq=False)
class Batch:
    """Calls that went to a worker together.

    `began` is when the worker began with it (the loop's time), None while it has another one.
    `calls` are those that are not answered yet.
    """

    slot: Slot
    calls: list[Call]
    shape: Hashable
    items: int
    sent: float
    began: float | None = None


@dataclass(eq=False)
class Slot:
    """A place for one worker; the process in it is replaced when it dies.

    `batches`: what the worker has, the one that it works on first. `filling`: somebody is putting a
    worker in, and sees himself whether it ends.
    """

    process: WorkerProcess | None = None
    loaded: bool = False
    filling: bool = False
    restarts: int = 0
    failures: int = 0
    last_exit: str | None = None
    load_s: float = 0.0
    batches: deque[Batch] = field(default_factory=deque)

    @property
    def free(self) -> bool:
        """True if its worker can be sent something."""
        return self.loaded and self.process is not None and self.process.alive

    @property
    def state(self) -> str:
        """restarting, loading, busy or idle."""
        if self.process is None:
            return "restarting"
        if not self.loaded:
            return "loading"
        return "busy" if self.batches else "idle"
