"""How trainings are run: the server's settings as far as this room needs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..models_plugin.plugin import PluginSource
from ..models_plugin.scratch import OwnFolders
from ..processors import usable_cpus


def server_environment(source: PluginSource, temporary: Path) -> dict[str, str]:
    """The server's own environment without its settings, which may hold secrets."""
    seen = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
    return {**seen, **OwnFolders(temporary).variables(seen)}


@dataclass(frozen=True)
class RunLimits:
    """`max_seconds` of a run's processes, all attempts together; `restarts` after failures. None:
    not said."""

    max_seconds: float | None = None
    restarts: int | None = None


@dataclass(frozen=True)
class TrainingOptions:
    """Times are in seconds.

    `cpus` are those that trainings may use (None: all of ours). `threads` is for each training
    (None: those CPUs divided by `max_trainings`), and no more than `cpus`; `nice` is added to a
    training's niceness; `on_stop` says what becomes of trainings when the server stops: `leave`,
    `pause` (they save a checkpoint, and the next server goes on with them) or `cancel`.
    `sources` say where the models that are served have their code now, which may be elsewhere than
    when a run was submitted. `environment` gives a plugin's run process its environment, with the
    folder that its temporary files go to. `start_limit_s` is how long a
    supervisor may take to appear, `cancel_limit_s` how long it may take to end a cancelled run
    before the server does so itself. A version that cannot be put in its place (disk full) is tried
    again for `publish_limit_s`. An interrupted run goes on by itself at most `resume_attempts`
    times from one checkpoint. `limits` are what runs of a model may take where a request does not
    say it, `limit` those of other models; a request's `max_seconds` may only be smaller. The first
    wait before a failed run is begun again is `restart_wait_s`; one that is to stop, or to pause,
    has `stop_grace_s` to save a checkpoint. `weights_folders` names, for some models, the folder in
    which train() leaves the weights. `memory_limit` is the bytes that one run may take, 0 for
    no limit; `memory_limits` are those of some models.
    """

    max_trainings: int = 1
    threads: int | None = None
    cpus: tuple[int, ...] | None = None
    nice: int = 19
    device: str = "auto"
    on_stop: str = "leave"
    data_root: Path | None = None
    weights_folders: Mapping[str, Path] = field(default_factory=dict)
    memory_limits: Mapping[str, int] = field(default_factory=dict)
    memory_limit: int = 0
    sources: Mapping[str, PluginSource] = field(default_factory=dict)
    environment: Callable[[PluginSource, Path], Mapping[str, str]] = server_environment
    poll_s: float = 0.1
    progress_s: float = 0.5
    start_limit_s: float = 30.0
    start_attempts: int = 3
    cancel_limit_s: float = 7.0
    publish_limit_s: float = 900.0
    resume_attempts: int = 3
    limit: RunLimits = RunLimits()
    limits: Mapping[str, RunLimits] = field(default_factory=dict)
    restart_wait_s: float = 1.0
    stop_grace_s: float = 30.0

    def limits_of(self, model: str, asked: RunLimits) -> RunLimits:
        """What a new run of the model may take and how often it may fail: each is set."""
        own = self.limits.get(model, RunLimits())
        most = self.limit.max_seconds if own.max_seconds is None else own.max_seconds
        given = [seconds for seconds in (asked.max_seconds, most) if seconds is not None]
        restarts = (asked.restarts, own.restarts, self.limit.restarts, 0)
        return RunLimits(
            max_seconds=min(given, default=None),
            restarts=next(count for count in restarts if count is not None),
        )

    @property
    def threads_each(self) -> int:
        """CPU threads of one training."""
        cores = usable_cpus(self.cpus)
        threads = self.threads or max(1, cores // self.max_trainings)
        return threads if self.cpus is None else min(threads, cores)
