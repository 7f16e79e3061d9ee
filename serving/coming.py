"""The bytes of a request that is being read: they count as waiting as they come.

Not as they are announced: whoever announces much and sends little would keep all others out.
Runs in the front.
"""

from __future__ import annotations

from typing import Protocol


class Counting(Protocol):
    """Whoever counts: the dispatcher of the version that is going to be asked."""

    def more_coming(self, own: int, more: int) -> None:
        """So many bytes have come, beside the request's `own`. Raises Busy."""

    def over_coming(self, size: int) -> None:
        """They are all read, or given up."""


class Coming:
    """One request's; a block, or `came` and then `over`. `counting` None: nobody counts."""

    __slots__ = ("_counting", "_size")

    def __init__(self, counting: Counting | None) -> None:
        self._counting = counting
        self._size = 0

    def came(self, size: int) -> None:
        """So many bytes more are here. Raises Busy if they cannot wait."""
        if self._counting is not None:
            self._counting.more_coming(self._size, size)
            self._size += size

    def came_to(self, size: int) -> None:
        """The same for all that are here."""
        self.came(size - self._size)

    def over(self) -> None:
        """They are all read, or given up; more than once does no harm."""
        if self._counting is not None and self._size:
            self._counting.over_coming(self._size)
            self._size = 0

    def __enter__(self) -> Coming:
        return self

    def __exit__(self, *_: object) -> None:
        self.over()
