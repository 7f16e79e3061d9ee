"""How trainings are run: the server's settings as far as this room needs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..models_plugin.plugin import PluginSource


def server_environment(source: PluginSource) -> dict[str, str]:
    """The server's own environment without its settings, which may hold secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}


@dataclass(frozen=True)
class TrainingOptions:
    """Times are in seconds.

    `cpus` are those that trainings may use (None: all of ours). `threads` is for each training
    (None: those CPUs divided by `max_trainings`), and no more than `cpus`; `nice` is added to a
    training's niceness; `on_stop` says what becomes of trainings when the server stops: `leave`,
    `pause` (they save a checkpoint, and the next server goes on with them) or `cancel`.
    `environment` gives a plugin's run process its environment. `start_limit_s` is how long a
    supervisor may take to appear, `cancel_limit_s` how long it may take to end a cancelled run
    before the server does so itself. A version that cannot be put in its place (disk full) is tried
    again for `publish_limit_s`. An interrupted run goes on by itself at most `resume_attempts`
    times from one checkpoint. `weights_folders` names, for some models, the folder in which
    train() leaves the weights.
    """

    max_trainings: int = 1
    threads: int | None = None
    cpus: tuple[int, ...] | None = None
    nice: int = 19
    device: str = "auto"
    on_stop: str = "leave"
    data_root: Path | None = None
    weights_folders: Mapping[str, Path] = field(default_factory=dict)
    environment: Callable[[PluginSource], Mapping[str, str]] = server_environment
    poll_s: float = 0.1
    progress_s: float = 0.5
    start_limit_s: float = 30.0
    start_attempts: int = 3
    cancel_limit_s: float = 7.0
    publish_limit_s: float = 900.0
    resume_attempts: int = 3

    @property
    def threads_each(self) -> int:
        """CPU threads of one training."""
        cores = len(self.cpus or os.sched_getaffinity(0))
        threads = self.threads or max(1, cores // self.max_trainings)
        return threads if self.cpus is None else min(threads, cores)
