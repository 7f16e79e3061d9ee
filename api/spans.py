"""Requests as OpenTelemetry's spans: one for the request, below it the queue and the worker.

Imported only with `--tracing`. Runs in the front; a thread of OpenTelemetry's sends the spans, and
they are lost when the collector is away. What is no setting of ours is the SDK's:
`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS` and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__
from ..serving.tracing import TRACER
from .access_log import TRACE, Handler
from .metrics import route_of

_LAST_S = 3.0
"""The server's end waits so long for the last spans to be sent."""


class Spans:
    """One application's spans, to the OTLP collector at `url` (over HTTP, protobuf)."""

    def __init__(self, url: str) -> None:
        named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        about = {"service.version": __version__}
        resource = Resource.create(about if named else {**about, "service.name": "modelyard"})
        # Its own provider, not the process's: two applications do not share one.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint_of(url))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("modelyard", __version__)
        self._w3c = TraceContextTextMapPropagator()

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        """Makes the span of a request, below the client's own if it sent a `traceparent`."""

        @web.middleware
        async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
            method, route = request.method, route_of(request)
            about = {"http.request.method": method, "http.route": route}
            followed = self.begun(f"{method} {route}", request.headers, about)
            request[TRACE] = followed.trace
            status = 499
            try:
                response = await handler(request)
                status = response.status
                return response
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                followed.ended(status >= 500, {"http.response.status_code": status})

        return trace

    def begun(
        self, name: str, headers: Mapping[str, str], about: Mapping[str, str | int]
    ) -> _Followed:
        """A request by whatever protocol; see `Tracing`."""
        parent = self._w3c.extract(headers, Context())
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, dict(about))
        return _Followed(self._tracer, span)

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Sends what is left at the end; a collector that does not answer holds nobody up."""
        yield
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        until = asyncio.get_running_loop().time() + _LAST_S
        while ending.is_alive() and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)


def endpoint_of(url: str) -> str:
    """Where the spans are sent: of an address without a path, OTLP's own for traces."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1/traces"


class _Followed:
    """A request under way: the calls of its task are below its span."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self.trace = format(span.get_span_context().trace_id, "032x")
        self._span = span
        self._token = TRACER.set(_RequestSpan(tracer, set_span_in_context(span, Context())))

    def ended(self, failed: bool, about: Mapping[str, str | int]) -> None:
        with contextlib.suppress(ValueError):  # a stream may be closed by another task
            TRACER.reset(self._token)
        for name, value in about.items():
            self._span.set_attribute(name, value)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _RequestSpan:
    """Serving's `CallTracer`: the calls of one request."""

    def __init__(self, tracer: Tracer, context: Context) -> None:
        self._tracer, self._context = tracer, context

    def call(self, model: str, items: int) -> _CallSpans:
        """The call begins to wait."""
        return _CallSpans(self._tracer, self._context, model, items)


class _CallSpans:
    """`queue` until a worker gets the call, then `worker` until it has answered."""

    def __init__(self, tracer: Tracer, context: Context, model: str, items: int) -> None:
        self._tracer, self._context = tracer, context
        self._about: dict[str, str | int] = {"modelyard.model": model, "modelyard.items": items}
        self._span = tracer.start_span("queue", context, attributes=self._about)

    def sent(self, items: int) -> str:
        self._span.end()
        about = {**self._about, "modelyard.batch_items": items}
        self._span = self._tracer.start_span("worker", self._context, attributes=about)
        told = self._span.get_span_context()
        return f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}"

    def ended(self, version: str | None) -> None:
        if version is not None:
            self._span.set_attribute("modelyard.version", version)
        self._span.end()
