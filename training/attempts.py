"""The attempts of a run: what the record tells of each, and which end is followed by another.

Runs in the server. A run that was interrupted goes on by itself (`resuming.py`); one that failed is
begun again only if it was asked to be, `restart_on_failure` times at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..records.runs import Attempt, RunRecord
from ..schemas.states import Reason
from .messages import ExitRecord

MOST_TOLD = 100
"""Attempts in a record: the first, and the newest."""
_FAILURES = {
    Reason.PLUGIN_FAILED,
    Reason.PROCESS_DIED,
    Reason.OUT_OF_MEMORY,
    Reason.DISK_FULL,
    Reason.INTERRUPTED,
    Reason.START_FAILED,
}
"""What another attempt may come through. Data that were refused, and a limit, stay as they are;
publishing is tried again without training."""
_LONGEST_WAIT_S, _LONGEST_PAUSE_S = 300.0, 30.0


def begun(record: RunRecord, now: datetime) -> tuple[Attempt, ...]:
    """The attempts with the one that begins now."""
    told = [*record.attempts, Attempt(record.attempt + 1, now.isoformat())]
    return tuple(told if len(told) <= MOST_TOLD else [told[0], *told[2:]])


def over(
    attempts: Sequence[Attempt], reason: str | None, message: str | None
) -> tuple[Attempt, ...]:
    """The attempts, the last of them over; one that was over already stays as it was."""
    if not attempts or attempts[-1].ended_at is not None:
        return tuple(attempts)
    ended = replace(
        attempts[-1], ended_at=datetime.now(UTC).isoformat(), reason=reason, message=message or None
    )
    return (*attempts[:-1], ended)


def may_be_restarted(record: RunRecord, how: ExitRecord) -> bool:
    """True if a run that ended so was asked to be begun again."""
    return record.restarts < record.restart_on_failure and how.reason in {
        reason.value for reason in _FAILURES
    }


def wait_s(record: RunRecord, first_s: float) -> float:
    """Seconds until a run is begun again: twice as long each time, at most 5 min after a failure
    (the first time `first_s`), and 30 s after an interruption."""
    if record.restarts:
        return min(_LONGEST_WAIT_S, first_s * _doubled(record.restarts))
    return min(_LONGEST_PAUSE_S, _doubled(record.attempt))


def _doubled(times: int) -> float:
    # A run may have had thousands of attempts in its weeks: no float holds 2 to their number.
    return 2.0 ** min(30, max(0, times - 1))
