"""The calls that wait for a worker: oldest first, counted in items and bytes. Runs in the front."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from .call import Call

_LOOKED_AT = 256  # calls behind the oldest that are looked at for more of its shape


class Waiting:
    """A queue from whose middle calls may go: their client has gone, or their time is over."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Call, None] = OrderedDict()
        self.items = 0
        self.size = 0
        self.work: dict[Hashable, int] = {}
        """Items by the shape of their calls."""

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call: Call) -> bool:
        return call in self._calls

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    @property
    def oldest(self) -> Call | None:
        return next(iter(self._calls), None)

    def add(self, call: Call) -> None:
        self._calls[call] = None
        call.queue = self
        self.items += call.items
        self.size += call.size
        self.work[call.shape] = self.work.get(call.shape, 0) + call.items

    def put_back(self, *calls: Call) -> None:
        """Calls that waited before and were not answered: they get their places by their age."""
        for call in calls:
            self.add(call)
        self._calls = OrderedDict.fromkeys(sorted(self._calls, key=lambda one: one.arrived))

    def remove(self, call: Call) -> bool:
        """False if it does not wait here."""
        if call not in self._calls:
            return False
        del self._calls[call]
        call.queue = None
        self.items -= call.items
        self.size -= call.size
        left = self.work[call.shape] - call.items
        if left:
            self.work[call.shape] = left
        else:
            del self.work[call.shape]
        return True

    def gather(self, most: Callable[[Hashable], int]) -> list[Call]:
        """Takes the next batch out: the oldest call, and others of its shape.

        `most` tells how many items a batch of a shape may have; a call with more is a batch of
        its own.
        """
        first = self.oldest
        if first is None:
            return []
        batch, items = [first], first.items
        if not first.alone:
            limit = most(first.shape)
            if items < limit:
                for call in self._others():
                    if call.shape == first.shape and items + call.items <= limit:
                        batch.append(call)
                        items += call.items
                        if items >= limit:
                            break
        for call in batch:
            self.remove(call)
        return batch

    def clear(self) -> list[Call]:
        """Takes all out."""
        calls, self._calls = list(self._calls), OrderedDict()
        for call in calls:
            call.queue = None
        self.items = self.size = 0
        self.work = {}
        return calls

    def _others(self) -> Iterator[Call]:
        calls = iter(self._calls)
        next(calls)
        for _, call in zip(range(_LOOKED_AT), calls, strict=False):
            if not call.alone:
                yield call
