"""A run's states and the one table of legal moves between them.

Only `training/` changes a run's state; schema, documents and clients read these enums. `status` is
DEEPaaS's word for a run (four values); `phase` says the same more finely. The sentence after each
member is its documentation in OpenAPI.
"""

from __future__ import annotations

from enum import Enum


class Status(str, Enum):
    """What a DEEPaaS client sees of a run."""

    RUNNING = "running"  # not ended: queued, starting, training, ...
    DONE = "done"  # ended well; its weights version is ready locally
    ERROR = "error"  # ended badly; `reason` and `message` say why
    CANCELLED = "cancelled"  # somebody cancelled it


class Phase(str, Enum):
    """Where a run is in its life."""

    QUEUED = "queued"  # accepted and recorded; waits for a free place
    STARTING = "starting"  # its process starts, reads the data and builds the model
    TRAINING = "training"  # optimizer steps are being made
    PAUSED = "paused"  # stopped on request; resumes from its last checkpoint
    RETRY_WAIT = "retry_wait"  # failed; waits before its next attempt
    EVALUATING = "evaluating"  # training is over and its state is on disk; it is being tested
    PUBLISHING = "publishing"  # its weights are being hashed and made a version
    CANCELLING = "cancelling"  # cancelled; its processes are being ended
    FINISHED = "finished"  # ended; `status` says how


class Reason(str, Enum):
    """Why a run ended, where `status` alone does not say it."""

    COMPLETED = "completed"  # train() returned
    CANCELLED = "cancelled"  # cancelled by a client
    STOPPED = "stopped"  # cancelled because the server stopped with --on-stop cancel
    INVALID_DATA = "invalid_data"  # the data were refused before the first step
    PLUGIN_FAILED = "plugin_failed"  # the model's code raised an exception
    PROCESS_DIED = "process_died"  # the run process was killed or exited by itself
    OUT_OF_MEMORY = "out_of_memory"  # the kernel or the device had no memory left
    TIME_LIMIT = "time_limit"  # max_seconds were over
    INTERRUPTED = "interrupted"  # the machine, container or supervisor ended under it
    START_FAILED = "start_failed"  # no process could be started for it
    PUBLISH_FAILED = "publish_failed"  # trained, but its weights could not be published


ACTIVE_PHASES: frozenset[Phase] = frozenset(
    {Phase.STARTING, Phase.TRAINING, Phase.EVALUATING, Phase.PUBLISHING, Phase.CANCELLING}
)
"""Phases in which a run has processes."""

_ENDS = {Phase.CANCELLING, Phase.FINISHED}
LEGAL_MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.STARTING, Phase.FINISHED}),
    Phase.STARTING: frozenset(
        {Phase.TRAINING, Phase.EVALUATING, Phase.PUBLISHING, Phase.QUEUED, Phase.PAUSED}
        | {Phase.RETRY_WAIT}
        | _ENDS
    ),
    Phase.TRAINING: frozenset(
        {Phase.EVALUATING, Phase.PUBLISHING, Phase.PAUSED, Phase.RETRY_WAIT} | _ENDS
    ),
    Phase.EVALUATING: frozenset({Phase.PUBLISHING, Phase.PAUSED, Phase.RETRY_WAIT} | _ENDS),
    Phase.PUBLISHING: frozenset({Phase.RETRY_WAIT} | _ENDS),
    Phase.PAUSED: frozenset({Phase.QUEUED, Phase.FINISHED}),
    Phase.RETRY_WAIT: frozenset({Phase.QUEUED, Phase.FINISHED}),
    Phase.CANCELLING: frozenset({Phase.FINISHED}),
    Phase.FINISHED: frozenset(),
}
"""From each phase, the phases that may follow it. Staying in a phase is no move."""
