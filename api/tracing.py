"""Whether requests are traced: `--tracing URL`, with OpenTelemetry, which is an extra."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web

from ..errors import CannotStart


class Followed(Protocol):
    """A request under way; `trace` is its trace id, 32 hex digits."""

    trace: str

    def ended(self, failed: bool, about: Mapping[str, str | int]) -> None:
        """It was answered, in the task in which it began; `failed`: by a fault of this side."""


class Tracing(Protocol):
    """What the application does with it: a middleware, and an end that sends what is left."""

    def begun(
        self, name: str, headers: Mapping[str, str], about: Mapping[str, str | int]
    ) -> Followed:
        """A request by other ways than HTTP: its calls are followed from here on, in this task.

        It is a part of the trace that its lower-case `headers` name.
        """

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
