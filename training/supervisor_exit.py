"""Notices the end of a supervisor at once, by a pidfd in the server's event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from .executor import read_identity
from .paths import RunPaths


class SupervisorExit:
    """Calls `callback` once when the run's supervisor ends. Only a hint: polling decides."""

    def __init__(self, paths: RunPaths, callback: Callable[[], None]) -> None:
        self._paths = paths
        self._callback = callback
        self._descriptor: int | None = None
        self._tried = False

    def watch(self) -> None:
        """Begins, once supervisor.json is there. Does nothing the second time."""
        if self._tried:
            return
        self._tried = True
        identity = read_identity(self._paths.supervisor)
        if identity is None:
            return
        try:
            descriptor = os.pidfd_open(identity.pid)
        except OSError:  # it has ended already, which the next poll sees
            return
        if not identity.alive():
            os.close(descriptor)
            return
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended)

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _ended(self) -> None:
        self.close()
        self._callback()
