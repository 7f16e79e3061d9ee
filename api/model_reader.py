"""Models' own readers of datasets: which one reads, and what it says."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import DeadlineExceeded, InvalidArguments, NotSupported, PluginFailed
from ..records.home import Home
from ..serving.pool import ServingPool
from ..settings import Settings
from ..storage.datasets.service import Reading
from .plugin_tasks import run_model_task

log = logging.getLogger(__name__)

READING_LIMIT_S = 900.0
"""Seconds that a model's reader may take for one dataset."""


class ModelReader:
    """Has a model read a dataset, in a process of its own."""

    def __init__(self, settings: Settings, home: Home, pool: ServingPool) -> None:
        self._settings = settings
        self._home = home
        self._pool = pool

    async def __call__(self, model: str, folder: Path) -> Reading | None:
        """None if the model has no reader, or is not served. One that fails is told in the
        report: the dataset is kept all the same."""
        if model not in self._pool:
            return None
        try:
            told = await run_model_task(
                self._settings,
                self._home,
                self._pool,
                model,
                "read_dataset",
                {"folder": str(folder)},
                READING_LIMIT_S,
            )
        except NotSupported:
            return None
        except (PluginFailed, DeadlineExceeded) as error:
            log.warning("the reader of %s failed: %s\n%s", model, error.message, error.traceback)
            message = f"The model's reader failed: {error.message}"
            problem = {"file": None, "line": None, "message": message, "level": "error"}
            return Reading({}, {"problems": [problem], "errors": 1, "warnings": 0, "left_out": 0})
        statistics = told.pop("statistics")
        return Reading(statistics, told)

    def choose(self, model: str | None) -> str | None:
        """The model that is to read: the one named, or the only one that can.

        Raises InvalidArguments for one that is not served here.
        """
        if model is not None:
            if model not in self._pool:
                known = ", ".join(sorted(handle.name for handle in self._pool.all()))
                raise InvalidArguments({"model": [f"No such model is served here: {known}."]})
            return model
        able = [
            handle.name
            for handle in self._pool.all()
            if handle.description is not None and "read_dataset" in handle.description.capabilities
        ]
        return able[0] if len(able) == 1 else None
