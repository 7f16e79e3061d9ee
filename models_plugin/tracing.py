"""Has a plugin that uses OpenTelemetry go on with the trace of the request. Runs in workers.

Without cost where nobody traces: the server then sends no `traceparent`. A plugin that does not
import OpenTelemetry itself pays nothing either. Python 3.8 syntax, standard library only.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib import import_module
from typing import Any

_TRACES: ContextVar[Sequence[str]] = ContextVar("modelyard_traceparents", default=())


def traceparents() -> Sequence[str]:
    """The W3C `traceparent` of each call that is being predicted, in their order.

    Empty strings for calls without one; nothing at all while the server traces none of them.
    """
    return _TRACES.get()


@contextlib.contextmanager
def traced(traces: Sequence[str]) -> Iterator[None]:
    """While the block runs, spans that the plugin begins belong to the trace of its call.

    A span has one parent, and a batch many calls: then it is the first of them that is traced.
    """
    token = _TRACES.set(traces)
    attached = _attach(next(filter(None, traces), ""))
    try:
        yield
    finally:
        if attached is not None:
            sys.modules["opentelemetry.context"].detach(attached)
        _TRACES.reset(token)


def _attach(traceparent: str) -> Any:
    """Makes it OpenTelemetry's current context, if the plugin has imported that; else None."""
    if not traceparent or "opentelemetry.trace" not in sys.modules:
        return None
    try:
        context = import_module("opentelemetry.context")
        w3c = import_module("opentelemetry.trace.propagation.tracecontext")
        carrier = {"traceparent": traceparent}
        found = w3c.TraceContextTextMapPropagator().extract(carrier, context.Context())
        return context.attach(found)
    except Exception:  # of whatever release the plugin has: a trace is no reason to fail a call
        return None
