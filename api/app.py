"""Composes the application: the rooms below, opened in reading order and closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from ..errors import ModelyardError
from ..models_plugin.discovery import OWN_DISTRIBUTION
from ..models_plugin.environment import plugin_environment
from ..models_plugin.plugin import DEEPAAS_GROUP, PluginSource
from ..models_plugin.scratch import OwnFolders
from ..records.audit import AuditLog
from ..records.caches import ModelCaches
from ..records.home import Home
from ..records.runs import RunRecord
from ..records.store import RecordStore
from ..schemas.states import Status
from ..serving.leftovers import Leftovers
from ..serving.options import ModelOptions, ServingOptions
from ..serving.pool import ServingPool
from ..settings import Settings
from ..storage.weights import WeightsVersion
from ..training.executor import LocalExecutor
from ..training.forkclient import TORCH_MODULES
from ..training.options import RunLimits
from ..training.purging import RunPurge
from ..training.service import RunService, TrainingOptions
from ..training.tensorboard import TensorBoard
from .access.enforcing import enforce
from .access.gate import Gate
from .access.sessions import SESSIONS, Sessions
from .access.trail import Trail
from .access_log import access_log
from .archives import PLACES, Places
from .compression import compress
from .debug import PRINTED, Printed
from .describe import add_documents
from .discretion import DISCRETION, Discretion
from .documents import name_metadata
from .door import Door
from .errors import errors_to_responses, mark_begun
from .exporting import EXPORTER, Exporter
from .grpc_port import GRPC_PORT, open_grpc
from .guard import guard, harden
from .idempotency import REPEATS, Repeats
from .metrics import Metrics
from .metrics_page import METRICS
from .plugin_tasks import environment_of, keeps_s3
from .responses import without_paths
from .routes import add_routes, documented
from .services import SERVICES, Services
from .sites import Sites
from .slashes import merge_slashes
from .store_rooms import open_store_rooms
from .tracing import open_tracing

TEXT_LIMIT = 1024**2
"""Bytes of a body that is read whole by the framework (TensorBoard's requests)."""


def create_app(settings: Settings, sources: Sequence[PluginSource]) -> web.Application:
    """An application of its own: nothing is shared with another one in the same process.

    Nothing is opened before it starts. Its start raises CannotStart's family.
    """
    metrics = Metrics([source.name for source in sources])
    app = web.Application(
        middlewares=[
            access_log(metrics),
            errors_to_responses,
            compress,
            guard(settings),
            enforce,
            without_paths,
            merge_slashes,
        ],
        client_max_size=TEXT_LIMIT,
    )

    tracing = None if settings.tracing is None else open_tracing(settings.tracing)
    if tracing is not None:
        app.middlewares.insert(0, tracing.middleware())
        app.cleanup_ctx.append(tracing.lifetime)
    app[METRICS] = metrics
    app[PLACES] = Places()
    app[EXPORTER] = Exporter()
    app[DISCRETION] = Discretion(settings)
    app[REPEATS] = Repeats()
    app[SESSIONS] = Sessions()

    async def rooms(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app[SERVICES] = await open_services(settings, sources, metrics, stack)
            add_documents(app, documented(settings))
            yield

    async def end_streams(app: web.Application) -> None:
        app[SERVICES].stopping.set()
        await app[EXPORTER].close()

    if settings.debug_endpoint:
        app[PRINTED] = Printed()
        app.cleanup_ctx.append(app[PRINTED].listen)
    app.cleanup_ctx.append(rooms)
    app.cleanup_ctx.append(app[REPEATS].lifetime)
    if settings.grpc_port is not None:
        app[GRPC_PORT] = open_grpc(settings, metrics, tracing)
        app.cleanup_ctx.append(app[GRPC_PORT].lifetime)
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(harden)
    app.on_response_prepare.append(Sites(settings).share)
    app.on_response_prepare.append(mark_begun)
    if settings.oidc_issuer is not None:
        app.on_response_prepare.append(name_metadata)
    add_routes(app, settings)
    return app


async def open_services(
    settings: Settings,
    sources: Sequence[PluginSource],
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Services:
    """Opens every room, lowest first; `stack` closes them in reverse, trainings by `--on-stop`."""
    home = Home(settings.home)
    await asyncio.to_thread(home.open)
    stack.callback(home.close)

    store = RecordStore(home.database)
    await store.open()
    stack.push_async_callback(store.close)

    gate = Gate(settings, store)
    await gate.open()
    stack.push_async_callback(gate.close)

    caches = ModelCaches(home.cache, settings.model_cache, settings.min_free)
    caches.open()
    stack.callback(caches.close)

    executor = LocalExecutor(home.logs)
    stack.push_async_callback(executor.close)

    tensorboard = TensorBoard(home, f"{settings.base_path}/tensorboard")
    stack.push_async_callback(tensorboard.close)

    leftovers = Leftovers(home.server_id, home.logs / "leftovers.log")
    stack.push_async_callback(leftovers.close)

    pool = ServingPool(
        with_url_rules(settings, sources), _serving(settings, home), home.logs, metrics, leftovers
    )
    stack.push_async_callback(pool.close)

    rooms = await open_store_rooms(settings, home, store, pool, stack)
    versions, keeper, defaults = rooms.versions, rooms.keeper, rooms.defaults

    async def on_ended(record: RunRecord, version: WeightsVersion | None) -> None:
        metrics.training_ended(record.model, record.status, record.reason)
        if version is not None:
            keeper.publish(version)
        try:
            if record.model in pool:  # not an adopted run of a model that is not served any more
                handle = pool.get(record.model)
                if version is not None:
                    await defaults.settle(record.model)
                with suppress(ModelyardError):  # told where it is asked for
                    await handle.describe_again()
                if record.status is Status.DONE:
                    await handle.renew()
        finally:
            if version is not None:
                await keeper.retain(record.model)
            await purge.retain(record.model)

    def on_publishing(model: str) -> None:
        if model in pool:
            pool.get(model).prepare()

    own = {name: model.keep_runs for name, model in settings.models.items()}
    options = _training(settings, home, {handle.name: handle.source for handle in pool.all()})
    runs = RunService(store, home, executor, versions, options, on_ended, on_publishing)
    purge = RunPurge(store, home, settings.keep_runs, own, runs.turns)
    await runs.start()
    stack.push_async_callback(runs.close)

    await pool.start(defaults)
    for work in (keeper.retain_all(), purge.retain_all()):
        stack.callback(asyncio.ensure_future(work).cancel)
    if settings.warm_start:
        warming = asyncio.ensure_future(_preload(pool, executor))
        stack.callback(warming.cancel)
    return Services(
        settings=settings,
        home=home,
        store=store,
        gate=gate,
        trail=Trail(AuditLog(home.audit)),
        rooms=rooms,
        runs=runs,
        purge=purge,
        pool=pool,
        tensorboard=tensorboard,
        door=Door(settings.client_calls, metrics.client_refused),
        stopping=asyncio.Event(),
    )


async def _preload(pool: ServingPool, executor: LocalExecutor) -> None:
    """Has the fork server import torch as soon as a model that trains turns out to use it.

    Of the models themselves only our own: others' code may crash or hang while it is imported.
    """
    for handle in pool.all():
        if handle.source.python is not None:  # its trainings start cold
            continue
        await handle.loaded()
        capabilities = handle.description.capabilities if handle.description else ()
        if "torch" in capabilities and "train" in capabilities:
            await executor.preload(TORCH_MODULES)
            if handle.source.distribution == OWN_DISTRIBUTION:
                await executor.preload([handle.source.value.partition(":")[0]])


def with_url_rules(settings: Settings, sources: Sequence[PluginSource]) -> list[PluginSource]:
    """The models with where clients' URLs may lead: old modules fetch what they are given."""
    found = []
    for source in sources:
        own = settings.models.get(source.name)
        usual = "public" if source.group == DEEPAAS_GROUP else "any"
        found.append(replace(source, urls=(own.urls if own else None) or usual))
    return found


def _serving(settings: Settings, home: Home) -> ServingOptions:
    return ServingOptions(
        load_timeout_s=settings.load_timeout,
        predict_timeout_s=settings.predict_timeout,
        queue_s=settings.queue_seconds,
        max_waiting=settings.queue_items,
        max_waiting_size=settings.queue_size,
        workers=settings.workers,
        threads=settings.threads,
        device=settings.device,
        warm=settings.warm,
        memory_budget=settings.memory_budget,
        memory_limit=settings.memory_limit,
        answer_limit=settings.answer_max_size,
        withhold_s3=keeps_s3(settings),
        temporary=home.workers,
        caches=home.cache,
        per_model={
            name: ModelOptions(
                predict_timeout_s=own.predict_timeout,
                workers=own.workers,
                device=own.device,
                cpus=own.cpus,
                max_wait_ms=own.max_wait_ms,
                latency_target_ms=own.latency_target_ms,
                memory_limit=own.memory_limit,
                env=environment_of(own),
            )
            for name, own in settings.models.items()
        },
    )


def _training(
    settings: Settings, home: Home, sources: Mapping[str, PluginSource]
) -> TrainingOptions:
    withheld = keeps_s3(settings)

    def environment(source: PluginSource, temporary: Path) -> dict[str, str]:
        folders = OwnFolders(temporary, home.cache / source.name)
        env = environment_of(settings.models.get(source.name))
        return plugin_environment(source, env, withhold_s3=withheld, folders=folders)

    return TrainingOptions(
        sources=sources,
        environment=environment,
        max_trainings=settings.max_trainings,
        threads=settings.training_threads,
        cpus=settings.training_cpus,
        nice=settings.training_nice,
        device=settings.device,
        on_stop=settings.on_stop,
        stop_grace_s=settings.training_grace,
        limit=RunLimits(settings.training_max_seconds, settings.restart_on_failure),
        limits={
            name: RunLimits(own.max_seconds, own.restart_on_failure)
            for name, own in settings.models.items()
        },
        data_root=settings.data,
        memory_limit=settings.memory_limit,
        memory_limits={
            name: own.memory_limit
            for name, own in settings.models.items()
            if own.memory_limit is not None
        },
        weights_folders={
            name: own.weights_folder
            for name, own in settings.models.items()
            if own.weights_folder is not None
        },
    )
