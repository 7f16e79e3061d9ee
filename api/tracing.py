"""Whether requests are traced: `--tracing URL`, with OpenTelemetry, which is an extra."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from aiohttp import web

from ..errors import CannotStart


class Tracing(Protocol):
    """What the application does with it: a middleware, and an end that sends what is left."""

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """The outermost one."""

    def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """For `cleanup_ctx`."""


def open_tracing(url: str) -> Tracing:
    """Spans that go to the collector at `url`. Raises CannotStart without the extra."""
    try:
        # Only here: the libraries are some megabytes that nobody pays who does not trace.
        from .spans import Spans
    except ImportError as error:
        raise CannotStart(
            f"--tracing needs OpenTelemetry, which is not installed ({error}): "
            "pip install 'modelyard[otel]'."
        ) from error
    return Spans(url)
