"""How a call is followed by a tracer, if the server has one. Runs in the front.

Here is the seam alone: who makes spans of it is `api/`'s to say.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class CallTrace(Protocol):
    """One call, from its place in the queue on. Must be cheap, and must not raise."""

    def sent(self, items: int) -> str:
        """A worker gets it, in a batch of so many items; again if the first one died.

        Returns the W3C `traceparent` that the worker's own spans belong below.
        """

    def ended(self, version: str | None) -> None:
        """It was answered, refused or given up."""


class CallTracer(Protocol):
    """What a request is followed with."""

    def call(self, model: str, items: int) -> CallTrace:
        """A call of this request begins to wait."""


TRACER: ContextVar[CallTracer | None] = ContextVar("modelyard_tracer", default=None)
"""Set while a traced request is answered; a look at it is all that others cost."""
