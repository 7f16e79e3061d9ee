"""Plugin tasks with the server's settings: environment, threads, log of the model."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from ..clearing import make_folder, remove_tree
from ..models_plugin.environment import plugin_environment
from ..models_plugin.scratch import OwnFolders
from ..models_plugin.torch_files import ALLOWED
from ..records.home import Home
from ..serving.pool import ServingPool
from ..serving.tasks import run_plugin_task
from ..settings import Settings
from ..settings.models import ModelSettings


def environment_of(own: ModelSettings | None) -> dict[str, str]:
    """What a model's table puts into the environment of its processes."""
    if own is None:
        return {}
    return {**own.env, **({ALLOWED: "1"} if own.torch_files else {})}


def keeps_s3(settings: Settings) -> bool:
    """True if the variables `AWS_*` are the credentials of this server's own store."""
    return settings.storage is not None and settings.storage.lower().startswith("s3:")


async def run_model_task(
    settings: Settings,
    home: Home,
    pool: ServingPool,
    model: str,
    task: str,
    parameters: Mapping[str, Any],
    timeout_s: float,
) -> dict[str, Any]:
    """What a task of a model of `pool` returns. Raises as `run_plugin_task`."""
    source = pool.get(model).source
    own = settings.models.get(source.name)
    temporary = home.workers / uuid.uuid4().hex[:8]
    environment = plugin_environment(
        source,
        environment_of(own),
        threads=settings.threads or 1,
        withhold_s3=keeps_s3(settings),
        folders=OwnFolders(temporary, home.cache / source.name),
    )
    cpus = settings.training_cpus  # it is work in the background as well
    log = home.logs / f"{source.name}.log"
    limit = own.memory_limit if own is not None else None
    limit = settings.memory_limit if limit is None else limit
    make_folder(temporary)
    try:
        return await run_plugin_task(
            source, environment, task, parameters, timeout_s, log, cpus, limit, pool.leftovers
        )
    finally:
        await asyncio.shield(asyncio.to_thread(remove_tree, temporary))
