"""Who of those that send a large body may send on: so that many of them cost no more than a few.

What has come of a body and is not used yet is in memory. With a thousand senders at once that is a
thousand times what each may have ahead, so they share one budget. A connection is read until it has
given us a piece; then it is held until somebody has used that piece, and until it is its turn.
Whoever began first goes first, so that files are finished one after another and not all at the end,
and goes behind the others after each `_SHARE` bytes. Who may send and does not, or not much, takes
no place from anybody: so slow senders keep nobody out. Runs in the front, on its loop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

BUDGET = 4 * 1024**2
"""Bytes of bodies that are here and not used yet, over all connections."""
LEAST = 32 * 1024
"""Bytes of one body that are no piece yet."""
SMALL = 256 * 1024
"""A body that is announced as no longer than this is none of the intake's."""
_PIECE = 256 * 1024
"""Bytes that one read gives us at most, with uvloop as with asyncio."""
_SHARE = 32 * 1024**2
_QUIET_S = 0.1
"""Whoever was let in and has sent no piece for so long holds no place any more, and may send on."""
_UNUSED_S = 1.0
"""A piece that nobody has used for so long counts no more: whoever cannot go on (lines that wait
for a slow model) would keep out all others. The framework's own limit holds it back then."""
_LOOK_S = 0.1


class State(Enum):
    """What a connection does with its body."""

    NONE = "none"  # it has none under way that is large
    SENDING = "sending"  # it may send
    LOADED = "loaded"  # it has sent a piece, which is to be used
    LEFT = "left"  # the same, and nobody has used it for long
    WAITING = "waiting"  # it waits for its turn


class Turn:
    """Where a connection stands."""

    __slots__ = ("entry", "held", "number", "since", "state", "taken")

    def __init__(self) -> None:
        self.state = State.NONE
        self.since = 0.0
        self.number = 0  # lower ones go first
        self.entry = 0  # in the line, the last one
        self.taken = 0  # bytes since it has that
        self.held = 0  # bytes of it that count now


class Sender(Protocol):
    """A connection, as the intake knows it."""

    turn: Turn

    def unused(self) -> int:
        """Bytes of its body that nobody has taken."""

    def hold(self) -> None:
        """What it sends from now on waits in the kernel."""

    def let(self) -> None:
        """It may send again."""


class Intake:
    """That of one port."""

    def __init__(self) -> None:
        self._held = 0
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._sending: dict[Sender, None] = {}  # the newest last
        self._loaded: dict[Sender, None] = {}  # the newest last
        self._line: list[tuple[int, int, Sender]] = []  # a heap, with some that wait no more
        self._serving: asyncio.Handle | None = None
        self._looking: asyncio.Handle | None = None

    @property
    def held(self) -> int:
        """Bytes that are here and not used yet."""
        return self._held

    @property
    def is_full(self) -> bool:
        """True if somebody waits for a turn."""
        return bool(self._line)

    # -- what connections tell ----------------------------------------------------------------

    def begins(self, sender: Sender) -> None:
        """A large body of it is under way."""
        sender.turn.number = next(self._numbers)
        if sender.unused() >= LEAST:
            self.came(sender)
        elif self._has_room():
            self._put(sender, State.SENDING)
        else:
            sender.hold()
            self._queue(sender)

    def came(self, sender: Sender) -> None:
        """It has sent a piece, and more is to come: it is held."""
        turn = sender.turn
        if turn.state is State.NONE:
            turn.number = next(self._numbers)
        sender.hold()
        self._put(sender, State.LOADED)
        turn.held = sender.unused()
        turn.taken += turn.held
        self._held += turn.held
        if self._held >= BUDGET:
            for one in list(self._sending):
                one.hold()
                self._queue(one)
        self._look_later()

    def asks(self, sender: Sender) -> None:
        """More is wanted of it."""
        turn = sender.turn
        if turn.state is State.WAITING or sender.unused():
            return
        if turn.state is State.SENDING:
            sender.let()
            return
        if turn.taken >= _SHARE:
            turn.number, turn.taken = next(self._numbers), 0
        self._queue(sender)
        self._serve_soon()

    def leave(self, sender: Sender) -> None:
        """Its body is here as a whole, or will never be."""
        if sender.turn.state is not State.NONE:
            self._put(sender, State.NONE)
            sender.turn.taken = 0
            self._serve_soon()

    @contextmanager
    def using(self, size: int) -> Iterator[None]:
        """Counts so many bytes that were taken, and are on their way to a file."""
        self._held += size
        try:
            yield
        finally:
            self._held -= size
            self._serve_soon()

    # -- whose turn it is ---------------------------------------------------------------------

    def _put(self, sender: Sender, state: State) -> None:
        turn = sender.turn
        self._held -= turn.held
        turn.held = 0
        self._sending.pop(sender, None)
        self._loaded.pop(sender, None)
        turn.state, turn.since = state, self._loop.time()
        if state is State.SENDING:
            self._sending[sender] = None
        elif state is State.LOADED:
            self._loaded[sender] = None

    def _queue(self, sender: Sender) -> None:
        self._put(sender, State.WAITING)
        turn = sender.turn
        turn.entry = next(self._numbers)
        heapq.heappush(self._line, (turn.number, turn.entry, sender))
        self._look_later()

    def _has_room(self) -> bool:
        """True if one more may send: each that was let in lately is going to send a piece."""
        left, quiet = BUDGET - self._held, self._loop.time() - _QUIET_S
        for one in reversed(self._sending):
            if left < _PIECE or one.turn.since < quiet:
                break
            left -= _PIECE
        return left >= _PIECE

    def _serve_soon(self) -> None:
        # Not at once: who has taken a piece now counts it (`using`) a moment later.
        if self._line and self._serving is None:
            self._serving = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._serving = None
        while self._line and self._has_room():
            _, entry, sender = heapq.heappop(self._line)
            if sender.turn.state is State.WAITING and sender.turn.entry == entry:
                self._put(sender, State.SENDING)
                sender.let()

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = None
        long_ago = self._loop.time() - _UNUSED_S
        for sender in list(self._loaded):
            if sender.turn.since > long_ago:
                break
            self._put(sender, State.LEFT)
            self.asks(sender)  # of what came nothing may be left: it was the last of a packed piece
        self._serve()
        if self._line or self._loaded:
            self._look_later()
