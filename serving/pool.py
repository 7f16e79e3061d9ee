"""All served models of one application. Runs in the front."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ModelFailedToLoad, ModelNotFound
from ..models_plugin.plugin import PluginSource
from .choices import DefaultWeights
from .gate import LoadGate
from .handle import ModelHandle
from .leftovers import Leftovers
from .memory import MemoryBudget
from .observer import Observer
from .options import ServingOptions

LOG_LIMIT = 32 * 1024**2
"""Bytes of a log at which it is cut to its last part."""
_LOG_KEPT = 1024**2
_LOG_EVERY_S = 2.0


class ServingPool:
    """The models by name. Nothing is started before `start`; `leftovers` ends what models leave."""

    def __init__(
        self,
        sources: Sequence[PluginSource],
        options: ServingOptions,
        logs: Path,
        observer: Observer | None = None,
        leftovers: Leftovers | None = None,
    ) -> None:
        self.leftovers = leftovers
        gate = LoadGate()
        self._memory = MemoryBudget(options.memory_budget, gate)
        self._handles = {
            source.name: ModelHandle(
                source, options.of(source.name), logs, gate, observer, self._memory, leftovers
            )
            for source in sources
        }
        self._logs = logs
        self._cutting: asyncio.Task[None] | None = None

    async def start(self, default_weights: DefaultWeights) -> None:
        """Begins to load every model and returns; `default_weights` tells each one's version."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for handle in self._handles.values():
            handle.open(default_weights)
        self._cutting = asyncio.ensure_future(self._cut_logs())
        self._memory.watch(lambda: [one for handle in self.all() for one in handle.groups()])

    async def close(self) -> None:
        """Ends every worker, within seconds."""
        if self._cutting is not None:
            self._cutting.cancel()
        await self._memory.close()
        await asyncio.gather(*(handle.close() for handle in self._handles.values()))

    def get(self, name: str) -> ModelHandle:
        """The model of this name. Raises ModelNotFound."""
        try:
            return self._handles[name]
        except KeyError:
            known = ", ".join(self._handles) or "none"
            raise ModelNotFound(f"There is no model {name!r} here. There are: {known}.") from None

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def all(self) -> list[ModelHandle]:
        """Every model, also those that cannot serve."""
        return list(self._handles.values())

    async def wait_loaded(self, names: Iterable[str]) -> None:
        """Waits for the first load of the named models. Raises ModelFailedToLoad for the first bad.

        Later failures are no matter of this: a model that served once is started again.
        """
        for name in names:
            handle = self.get(name)
            await handle.loaded()
            if handle.error is not None:
                raise ModelFailedToLoad(
                    f"The model {name!r} could not be loaded.\n{handle.error.message}"
                )

    async def _cut_logs(self) -> None:
        """Bounds all logs of the home: what models print, and the server's helpers. Who writes
        them appends, so cutting in place loses nothing later."""
        while True:
            await asyncio.sleep(_LOG_EVERY_S)
            await asyncio.to_thread(lambda: _cut_all(self._logs.glob("*.log")))


def _cut_all(logs: Iterable[Path]) -> None:
    for path in logs:
        with contextlib.suppress(OSError):  # a full disk is no reason to stop bounding logs
            _cut(path)


def _cut(path: Path) -> None:
    if not path.exists() or path.stat().st_size < LOG_LIMIT:
        return
    with path.open("r+b") as file:
        file.seek(-_LOG_KEPT, 2)
        try:  # the part to keep is stored before the log is cut: whoever sees it cut finds it
            with path.with_name(f"{path.name}.1").open("wb") as kept:
                shutil.copyfileobj(file, kept)  # to its end, which may have moved meanwhile
        finally:  # a disk too full for the copy is full of this log
            file.truncate(0)
