"""Whose messages are received at the same time. Runs in the front, on its loop.

gRPC tells how long a message is only when all of it is here, and whoever asks for one opens the way
for all of it. So a call asks for its message when it has a place here, and there are as many as
longest messages fit into `AT_ONCE` bytes. Until then HTTP/2 holds its sender: 64 KiB are here at
most. A message as short as that takes a place for no time at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from typing import Protocol

from ...errors import Busy, ModelyardError

AT_ONCE = 512 * 1024**2
"""Bytes of the messages that are being received, if each were the longest."""
_STRANGERS = 2
_WAITING = 1000
"""Each has a task, and what HTTP/2 lets it send unasked."""
_RETRY_S = 1.0
_CROWDED = "The server is receiving as many messages as it may at the same time."


class Reader(Protocol):
    """A call whose message is to be received."""

    @property
    def caller(self) -> str:
        """Whom a limit per client counts by."""

    def cut(self, error: ModelyardError) -> None:
        """Ends the call, whose message is on its way, with this error."""


class Places(Protocol):
    """Who may receive."""

    async def enter(self, reader: Reader) -> None:
        """Returns when the reader has a place; `leave` is to follow. Raises Busy."""

    def leave(self, reader: Reader) -> None:
        """The reader's place is free; for one that has none it does nothing."""


class SharedPlaces:
    """For callers who may call: each waits for a place, for `wait_s` at most.

    One caller may have up to two thirds of them. Another who comes then may have as much of the
    rest, and so on: so some are free for whoever comes next, however slow the messages of others
    are. Those who wait are served in turn, caller by caller.
    """

    def __init__(self, longest: int, wait_s: float) -> None:
        """`longest` message, in bytes."""
        self._free = max(4, AT_ONCE // longest)
        self._wait_s = wait_s
        self._here: dict[Reader, str] = {}
        self._of_one: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[tuple[Reader, asyncio.Future[None]]]] = OrderedDict()
        self._waiting = 0

    async def enter(self, reader: Reader) -> None:
        """Raises Busy when no place became free in time, or too many wait already."""
        caller = reader.caller
        if caller not in self._queues and self._may(caller):
            self._take(reader, caller)
            return
        if self._waiting >= _WAITING:
            raise Busy(_CROWDED, _RETRY_S)
        loop = asyncio.get_running_loop()
        waiter = (reader, loop.create_future())
        self._queues.setdefault(caller, deque()).append(waiter)
        self._waiting += 1
        timer = loop.call_later(self._wait_s, _expire, waiter[1])
        try:
            await waiter[1]
        except BaseException:
            if reader in self._here:  # it was given the place in the very turn of its end
                self.leave(reader)
            else:
                self._forget(caller, waiter)
            raise
        finally:
            timer.cancel()

    def leave(self, reader: Reader) -> None:
        """The next one who may gets the place."""
        caller = self._here.pop(reader, None)
        if caller is None:
            return
        self._of_one[caller] -= 1
        if not self._of_one[caller]:
            del self._of_one[caller]
        self._free += 1
        while self._free:
            caller = next(filter(self._may, self._queues), None)
            if caller is None:
                return
            self._admit(caller)

    def _may(self, caller: str) -> bool:
        # A threshold that moves with what is free: Choudhury and Hahne, "Dynamic queue length
        # thresholds for shared-memory packet switches", 1998.
        own = self._of_one[caller]
        return self._free > 0 and (not own or own + 1 <= 2 * (self._free - 1))

    def _take(self, reader: Reader, caller: str) -> None:
        self._free -= 1
        self._of_one[caller] += 1
        self._here[reader] = caller

    def _admit(self, caller: str) -> None:
        reader, future = waiter = self._queues[caller][0]
        self._forget(caller, waiter)
        if caller in self._queues:
            self._queues.move_to_end(caller)
        if not future.done():
            self._take(reader, caller)
            future.set_result(None)

    def _forget(self, caller: str, waiter: tuple[Reader, asyncio.Future[None]]) -> None:
        queue = self._queues.get(caller)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[caller]


class StrangersPlaces:
    """For methods that anybody may call, whose messages are a name: nobody waits.

    One more than there are places for ends the one that has been at it for longest. A message that
    is a name is here at once; what takes longer is none.
    """

    def __init__(self) -> None:
        self._here: OrderedDict[Reader, None] = OrderedDict()

    async def enter(self, reader: Reader) -> None:
        """There is always a place."""
        if len(self._here) >= _STRANGERS:
            oldest, _ = self._here.popitem(last=False)
            oldest.cut(Busy(_CROWDED, _RETRY_S))
        self._here[reader] = None

    def leave(self, reader: Reader) -> None:
        """See `Places`."""
        self._here.pop(reader, None)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(Busy(_CROWDED, _RETRY_S))
