"""A run's states and the one table of legal moves between them.

Only `training/` changes a run's state; schema, documents and clients read these enums. `status` is
DEEPaaS's word for a run (four values); `phase` says the same more finely. The sentence of each
member is its documentation in OpenAPI.
"""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """A member is its word (`Status("done")`), and carries the `sentence` that explains it."""

    _value_: str
    sentence: str

    def __new__(cls, word: str, sentence: str = "") -> Word:
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member


class Status(Word):
    """What a DEEPaaS client sees of a run."""

    RUNNING = "running", "Not ended: queued, starting, training, ..."
    DONE = "done", "Ended well; its weights version is ready locally."
    ERROR = "error", "Ended badly; `reason` and `message` say why."
    CANCELLED = "cancelled", "Somebody cancelled it."


class Phase(Word):
    """Where a run is in its life."""

    QUEUED = "queued", "Accepted and recorded; waits for a free place."
    STARTING = "starting", "Its process starts, reads the data and builds the model."
    TRAINING = "training", "Optimizer steps are being made."
    PAUSED = "paused", "Stopped on request, in a checkpoint; goes on when it is resumed."
    RETRY_WAIT = "retry_wait", "Interrupted or failed; goes on by itself after a moment."
    EVALUATING = "evaluating", "Training is over and its state is on disk; it is being tested."
    PUBLISHING = "publishing", "Its weights are being hashed and made a version."
    CANCELLING = "cancelling", "Cancelled; its processes are being ended."
    FINISHED = "finished", "Ended; `status` says how."


class Reason(Word):
    """Why a run ended, where `status` alone does not say it."""

    COMPLETED = "completed", "train() returned."
    CANCELLED = "cancelled", "Cancelled by a client."
    STOPPED = "stopped", "Cancelled because the server stopped with --on-stop cancel."
    INVALID_DATA = "invalid_data", "The data were refused before the first step."
    PLUGIN_FAILED = "plugin_failed", "The model's code raised an exception."
    PROCESS_DIED = "process_died", "The run process was killed or exited by itself."
    OUT_OF_MEMORY = "out_of_memory", "The kernel or the device had no memory left."
    TIME_LIMIT = "time_limit", "The run's `max_seconds` were over."
    INTERRUPTED = "interrupted", "The machine, container or supervisor ended under it."
    DISK_FULL = "disk_full", "A disk was full; what was saved before is kept."
    START_FAILED = "start_failed", "No process could be started for it."
    PUBLISH_FAILED = "publish_failed", "Trained, but its weights could not be published."


ACTIVE_PHASES: frozenset[Phase] = frozenset(
    {Phase.STARTING, Phase.TRAINING, Phase.EVALUATING, Phase.PUBLISHING, Phase.CANCELLING}
)
"""Phases in which a run has processes."""

PAUSABLE: frozenset[Phase] = frozenset({Phase.STARTING, Phase.TRAINING, Phase.EVALUATING})
"""Phases in which a run has processes that can be asked to save a checkpoint and end."""

_ENDS = {Phase.CANCELLING, Phase.FINISHED}
LEGAL_MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.STARTING, Phase.PAUSED, Phase.FINISHED}),
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
    Phase.RETRY_WAIT: frozenset({Phase.QUEUED, Phase.PAUSED, Phase.FINISHED}),
    Phase.CANCELLING: frozenset({Phase.FINISHED}),
    Phase.FINISHED: frozenset(),
}
"""From each phase, the phases that may follow it. Staying in a phase is no move."""
