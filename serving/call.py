"""One prediction on its way, and the place of the worker that has it. Runs in the front."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelyardError
from ..schemas.transport import RequestData
from .messages import Prediction
from .process import WorkerProcess


@dataclass(eq=False)
class Call:
    """One prediction on its way.

    `timeout_s` is its deadline, from its arrival. `batched`: it was sent together with others;
    `alone`: its batch killed a worker, so it goes by itself the next time.
    """

    request: RequestData
    folder: Path
    future: asyncio.Future[Prediction]
    timeout_s: float
    timer: asyncio.TimerHandle | None = None
    slot: Slot | None = None
    batched: bool = False
    alone: bool = False

    def settle(self, result: Prediction | ModelyardError) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done():
            # The client has gone: what was made for it goes too.
            if isinstance(result, Prediction) and result.path is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
        elif isinstance(result, ModelyardError):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


@dataclass(eq=False)
class Slot:
    """A place for one worker; the process in it is replaced when it dies."""

    process: WorkerProcess | None = None
    loaded: bool = False
    restarts: int = 0
    failures: int = 0
    last_exit: str | None = None
    sent_at: float = 0.0
    load_s: float = 0.0
    calls: list[Call] = field(default_factory=list)

    @property
    def state(self) -> str:
        """restarting, loading, busy or idle."""
        if self.process is None:
            return "restarting"
        if not self.loaded:
            return "loading"
        return "busy" if self.calls else "idle"
