"""`GET /metrics`: what was counted, and what is the case now, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from aiohttp import web
from prometheus_client import ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import InfoMetricFamily, Metric

from .. import __version__
from ..errors import ModelyardError
from ..schemas.states import Phase
from ..serving.handle import ModelHandle
from .metrics import Metrics
from .services import Services, services

METRICS = web.AppKey("metrics", Metrics)
_WORKER_STATES = ("restarting", "loading", "busy", "idle")


class _Collected:
    """Looks like a registry to prometheus-client: there is none for all applications."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


async def metrics(request: web.Request) -> web.StreamResponse:
    """All series, as text or as OpenMetrics, whichever is asked for."""
    here, counted = services(request), request.config_dict[METRICS]
    now = [*_of_models(here.pool.all()), *await _of_rooms(here)]
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    # In a thread, because it takes some milliseconds, and with many models many.
    body = await asyncio.to_thread(
        lambda: encode(_Collected([*counted.collect(), *now, *_of_the_process()]))
    )
    counted.keep(_loaded(here.pool.all()))
    return web.Response(body=body, headers={"Content-Type": content_type})


def _loaded(handles: Iterable[ModelHandle]) -> set[tuple[str, str]]:
    return {
        (handle.name, group.calls.version or "") for handle in handles for group in handle.groups()
    }


def _of_models(handles: Iterable[ModelHandle]) -> Iterator[Metric]:
    waiting = _gauge("queue_items", "Items that wait for a worker.", "model")
    busy = _gauge("worker_items", "Items that workers have.", "model")
    workers = _gauge("workers", "Worker processes.", "model", "state")
    ready = _gauge("model_ready", "1 if the model can serve.", "model")
    for handle in handles:
        depths = [group.calls.depth for group in handle.groups()]
        waiting.add_metric([handle.name], sum(items for items, _ in depths))
        busy.add_metric([handle.name], sum(items for _, items in depths))
        ready.add_metric([handle.name], float(handle.state == "ready"))
        states: Counter[Any] = Counter(worker["state"] for worker in handle.workers)
        for state in _WORKER_STATES:
            workers.add_metric([handle.name, state], states[state])
    yield from (waiting, busy, workers, ready)


async def _of_rooms(here: Services) -> list[Metric]:
    info = InfoMetricFamily("modelyard", "The server.", value={"release": __version__})
    trainings = _gauge("trainings", "Trainings that have not ended, or are not gone.", "phase")
    with suppress(ModelyardError):  # records that cannot be read are no reason to tell nothing
        phases = await here.runs.phases()
        for phase in Phase:
            if phase is not Phase.FINISHED:
                trainings.add_metric([phase.value], phases.get(phase, 0))
    found: list[Metric] = [info, trainings]
    publisher = here.rooms.publisher
    if publisher is not None:
        about = "Weights and datasets that the store does not have yet."
        backlog = _gauge("store_backlog", about)
        backlog.add_metric([], publisher.backlog)
        found.append(backlog)
    return found


def _of_the_process() -> Iterable[Metric]:
    """The front's own memory, CPU time and descriptors, read now."""
    return ProcessCollector(registry=None).collect()


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"modelyard_{name}", about, labels=labels)
