"""How long a connection may take for what it is doing: the rule, pure.

A limit of time alone would cut a large upload over a slow line. So a body, and an answer that is
being taken, gain time by what has moved: at `rate` bytes a second they go on for ever, and at less
they run out, soonest those that stand still (Apache's mod_reqtimeout has the same rule).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...settings import Settings

LOOK_S = 1.0
"""Connections are looked at so often: a limit is told to them less this, so that it is one."""


class Phase(Enum):
    """What a connection is doing."""

    IDLE = "idle"  # no byte of a request has come
    HEAD = "head"  # of a request; not all of it is here
    BODY = "body"  # of a request; more is to come, and there is room for it
    HELD = "held"  # of a body; more may be there, and waits for our turn
    LINES = "lines"  # a body of lines, between two of them
    BUSY = "busy"  # nothing is waited for but ourselves
    ANSWER = "answer"  # bytes wait for the client to take them


_LEFT_AT_LEAST = 48 * 1024
"""Bytes that have left when a transport resumes: its marks stand at 64 and 16 KiB."""
_BY_RATE = frozenset({Phase.BODY, Phase.ANSWER})


@dataclass(frozen=True)
class Limits:
    """In seconds, and bytes a second; `rate` 0: whatever moves is enough."""

    idle_s: float
    client_s: float
    rate: int

    @staticmethod
    def of(settings: Settings) -> Limits:
        """Less than what was set by what a look may come late."""
        late = 3 * LOOK_S  # it begins to count at a look, ends at one, and a loop may be busy
        idle, client = settings.idle_timeout, settings.client_timeout
        return Limits(max(idle - late, idle / 2), max(client - late, client / 2),
                      settings.client_rate)  # fmt: skip


class Pace:
    """One connection's; `overdue` is asked at each look."""

    __slots__ = ("_looked", "_moved", "_out", "_phase", "_until", "came", "left")

    def __init__(self) -> None:
        self.came = 0  # bytes
        self.left = 0  # bytes, about
        self._out = 0  # bytes that had not left at the last look
        self._phase = Phase.BUSY
        self._moved = 0
        self._looked = 0.0
        self._until = 0.0

    def resumed(self) -> None:
        """The transport lets us write again."""
        self.left += _LEFT_AT_LEAST

    def waits_out(self, out: int) -> bool:
        """Told at each look how many bytes have not left; True if there are any."""
        self.left += max(0, self._out - out)
        self._out = out
        return out > 0

    def overdue(self, phase: Phase, moved: int, now: float, limits: Limits) -> bool:
        """True if it has been at this for too long.

        `moved` grows with what gains time: bytes, or of a head, whose length gains none, requests.
        """
        looked, self._looked = self._looked, now
        if phase is Phase.BUSY:
            self._phase = phase
            return False
        if phase is Phase.HELD:  # its clock stands still: it neither runs out nor begins anew
            self._until += now - looked
            return False
        most = now + (
            limits.client_s if phase in _BY_RATE or phase is Phase.HEAD else limits.idle_s
        )
        more, self._moved = moved - self._moved, moved
        if phase is not self._phase:
            self._phase, self._until = phase, most
        elif more:
            by_rate = phase in _BY_RATE and limits.rate
            self._until = min(most, self._until + more / limits.rate) if by_rate else most
        return now >= self._until
