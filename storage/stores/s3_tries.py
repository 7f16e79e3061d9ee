"""Trying again: with a budget of time, with pauses, and more slowly when the server asks for it.

botocore's own retries are off: they know no budget, and do not see a body that breaks off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ...errors import StoreUnavailable
from .base import Limits
from .s3_errors import Transient, told

T = TypeVar("T")

_LONGEST_PAUSE_S = 5.0


class Budget:
    """The time that one operation has, with all its tries; more of it for more bytes.

    Of what is sent the `size` is known before. What is fetched earns its time as it comes: of a
    server that gives nothing a large object is no more patient than a small one.
    """

    def __init__(self, limits: Limits, size: int = 0) -> None:
        self._slowest = limits.slowest
        self._until = time.monotonic() + limits.budget_s + size / limits.slowest

    def earn(self, size: int) -> None:
        """`size` bytes have come."""
        self._until += size / self._slowest

    @property
    def left_s(self) -> float:
        return self._until - time.monotonic()

    def check(self) -> None:
        """Raises Transient when the time is over; for loops over the pieces of a body."""
        if self.left_s <= 0:
            raise Transient("too slow")


class Tries:
    """Runs requests. One for a store, so that all its threads slow down together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._delay_s = 0.0

    def call(self, what: str, action: Callable[[], T], budget: Budget | None = None) -> T:
        """What `action` returns.

        Raises StoreUnavailable when tries or time are used up, and what `told` makes of the rest.
        """
        budget = budget or Budget(self._limits)
        tries = 0
        while True:
            self._wait(budget)
            try:
                result = action()
            except Exception as error:
                failure = told(error, what)
                tries += 1
                if not isinstance(failure, Transient):
                    raise failure from (None if failure is error else error)
                if tries >= self._limits.tries or budget.left_s <= 0:
                    raise StoreUnavailable(
                        f"{what}: the store does not answer as it should ({failure}, {tries} tries)"
                    ) from failure
                self._slower(failure.throttled)
                # Full jitter: aws.amazon.com/builders-library/timeouts-retries-and-backoff
                pause = min(_LONGEST_PAUSE_S, self._limits.pause_s * 2**tries) * random.random()
                time.sleep(max(0.0, min(pause, budget.left_s)))
            else:
                self._faster()
                return result

    def _wait(self, budget: Budget) -> None:
        delay = self._delay_s
        if delay:
            time.sleep(max(0.0, min(delay * (0.5 + random.random()), budget.left_s)))

    def _slower(self, throttled: bool) -> None:
        if throttled:
            pause = self._limits.pause_s
            with self._lock:
                self._delay_s = min(10 * pause, max(pause / 4, self._delay_s * 2))

    def _faster(self) -> None:
        if self._delay_s:
            with self._lock:
                self._delay_s = self._delay_s / 2 if self._delay_s > 0.01 else 0.0
