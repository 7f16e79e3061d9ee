"""What was counted, and what is the case now, as Prometheus reads it. Runs in the front.

Imported at the first scrape: prometheus-client takes a megabyte, which a server that nobody scrapes
is spared.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Numbers
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import InfoMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from .. import __version__
from ..errors import ModelyardError
from ..schemas.states import Phase
from ..serving.handle import ModelHandle
from .metrics import Metrics
from .services import Services
from .tallies import Counter, Histogram

_WORKER_STATES = ("restarting", "loading", "busy", "idle")


class _Collected:
    """Looks like a registry to prometheus-client: there is none for all applications."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


async def exposition(here: Services, counted: Metrics, accept: str) -> tuple[bytes, str]:
    """All series and their content type: text or OpenMetrics, whichever is asked for."""
    now = [*_of_models(here.pool.all()), *await _of_rooms(here)]
    encode, content_type = choose_encoder(accept)

    def made() -> bytes:
        then = [family_of(tally) for tally in counted.collect()]
        return encode(_Collected([*then, *now, *_of_the_process()]))

    # In a thread, because it takes some milliseconds, and with many models many.
    return await asyncio.to_thread(made), content_type


def family_of(tally: Counter | Histogram) -> Metric:
    """What prometheus-client writes of a tally; any thread may ask."""
    if isinstance(tally, Counter):
        counts = CounterMetricFamily(tally.name, tally.about, labels=tally.labels)
        for labels, count in tally.read():
            counts.add_metric(labels, count)
        return counts
    names = [*map(floatToGoString, tally.bounds), "+Inf"]
    family = HistogramMetricFamily(tally.name, tally.about, labels=tally.labels)
    for labels, values in tally.read():
        numbers, total = values.read()
        family.add_metric(labels, list(zip(names, numbers, strict=True)), total)
    return family


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
        states: Numbers[Any] = Numbers(worker["state"] for worker in handle.workers)
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
