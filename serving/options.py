"""How models are served: the server's settings as far as this room needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..processors import usable_cpus


@dataclass(frozen=True)
class ModelOptions:
    """What one model has different from all; None: as for all. `cpus` None: all of ours."""

    predict_timeout_s: float | None = None
    workers: int | None = None
    device: str | None = None
    cpus: tuple[int, ...] | None = None
    max_wait_ms: float | None = None
    latency_target_ms: float | None = None
    memory_limit: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServingOptions:
    """Times are in seconds.

    `workers` is for each model; `threads` for each worker (None: the model's CPUs divided by
    `workers`), and no more than the model has CPUs where it has some of its own.
    `keep_versions` is how many weights versions beside the default one stay warm in a worker of
    their own, the least recently used leaving first. `max_waiting` and
    `max_waiting_size` bound the items and bytes that wait for one version of a model; `queue_s` how
    long its queue may last, in which `least_waiting` items are always allowed. Without `warm` a
    plugin's `warm()` is not called. `memory_budget` is the bytes of all models' workers together, 0
    for no limit; `memory_limit` those of one worker with all that it starts, `answer_limit` those
    of one answer, likewise. `withhold_s3`: see `plugin_environment`. Each worker has a folder of
    its own in `temporary` (None: what the environment says), and each model one in `caches`.
    """

    load_timeout_s: float = 60.0
    predict_timeout_s: float = 60.0
    validate_timeout_s: float = 5.0
    workers: int = 1
    threads: int | None = None
    device: str = "auto"
    keep_versions: int = 1
    max_waiting: int = 10_000
    max_waiting_size: int = 256 * 1024**2
    queue_s: float = 0.7
    least_waiting: int = 64
    warm: bool = True
    withhold_s3: bool = False
    temporary: Path | None = None
    caches: Path | None = None
    memory_budget: int = 0
    memory_limit: int = 0
    answer_limit: int = 0
    per_model: Mapping[str, ModelOptions] = field(default_factory=dict)

    def of(self, model: str) -> ServedOptions:
        """The options of one model, its own first."""
        own = self.per_model.get(model, ModelOptions())
        workers = own.workers or self.workers
        cores = usable_cpus(own.cpus)
        threads = self.threads or max(1, cores // workers)
        return ServedOptions(
            load_timeout_s=self.load_timeout_s,
            predict_timeout_s=own.predict_timeout_s or self.predict_timeout_s,
            validate_timeout_s=self.validate_timeout_s,
            workers=workers,
            threads=threads if own.cpus is None else min(threads, cores),
            device=own.device or self.device,
            cpus=own.cpus,
            keep_versions=self.keep_versions,
            max_waiting=self.max_waiting,
            max_waiting_size=self.max_waiting_size,
            queue_s=self.queue_s,
            least_waiting=self.least_waiting,
            max_wait_s=(own.max_wait_ms or 0.0) / 1000,
            latency_target_s=own.latency_target_ms and own.latency_target_ms / 1000,
            warm=self.warm,
            withhold_s3=self.withhold_s3,
            temporary=self.temporary,
            caches=None if self.caches is None else self.caches / model,
            memory_limit=self.memory_limit if own.memory_limit is None else own.memory_limit,
            answer_limit=self.answer_limit,
            env=own.env,
        )


@dataclass(frozen=True)
class ServedOptions:
    """The options of one model."""

    load_timeout_s: float
    predict_timeout_s: float
    validate_timeout_s: float
    workers: int
    threads: int
    device: str
    cpus: tuple[int, ...] | None
    keep_versions: int
    max_waiting: int
    max_waiting_size: int
    queue_s: float
    least_waiting: int
    max_wait_s: float
    latency_target_s: float | None
    warm: bool
    withhold_s3: bool
    temporary: Path | None
    caches: Path | None
    memory_limit: int
    answer_limit: int
    env: Mapping[str, str]
