"""Makes the workers of one model, and groups of them. Runs in the front."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

from ..errors import ModelyardError
from ..models_plugin.environment import plugin_environment
from ..models_plugin.plugin import PluginSource
from ..models_plugin.scratch import OwnFolders
from ..schemas.description import ModelDescription
from .group import Waking, WorkerGroup
from .leftovers import Leftovers
from .messages import WeightsRef
from .observer import Observer
from .options import ServedOptions
from .process import WorkerProcess


class GroupMaker:
    """`on_described` is told what each worker says of its plugin; `log` gets what they print."""

    def __init__(
        self,
        source: PluginSource,
        options: ServedOptions,
        log: Path,
        on_described: Callable[[ModelDescription], None],
        observer: Observer,
        waking: Waking | None = None,
        leftovers: Leftovers | None = None,
        on_lost: Callable[[WorkerGroup, ModelyardError], None] | None = None,
    ) -> None:
        self._source = source
        self._options = options
        self._log = log
        self._on_described = on_described
        self._observer = observer
        self._waking = waking
        self._leftovers = leftovers
        self._on_lost = on_lost

    def group(self, ref: WeightsRef | None, load: bool = True) -> WorkerGroup:
        """A group that is not opened yet; without `load` one that cannot predict."""
        return WorkerGroup(
            self._source,
            self._options,
            self._start,
            ref if load else None,
            load,
            self._on_described,
            self._observer,
            self._waking,
            self._on_lost,
        )

    async def spare(self) -> WorkerProcess:
        """A process that has imported the plugin. Raises PluginFailed."""
        process = self._start(lambda ended: None)
        try:
            await self.group(None, load=False).import_plugin(process)
        except BaseException:
            await asyncio.shield(process.close(0.0))
            raise
        return process

    def _start(self, on_end: Callable[[WorkerProcess], None]) -> WorkerProcess:
        own = self._options
        # A short name: sockets are bound below it.
        folder = None if own.temporary is None else own.temporary / uuid.uuid4().hex[:8]
        environment = plugin_environment(
            self._source,
            own.env,
            own.threads,
            withhold_s3=own.withhold_s3,
            folders=None if folder is None else OwnFolders(folder, own.caches),
        )
        return WorkerProcess(
            environment,
            self._log,
            on_end,
            self._source.python,
            own.cpus,
            own.memory_limit,
            self._leftovers,
            folder,
        )
