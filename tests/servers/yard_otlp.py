"""An OpenTelemetry collector on loopback that keeps the spans it is sent (OTLP over HTTP)."""

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class KeptSpan(NamedTuple):
    """A span; ids are hex, times in nanoseconds, `attributes` and `resource` texts by name."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    begin: int
    end: int
    failed: bool
    attributes: dict[str, str]
    resource: dict[str, str]


class Collector:
    """Listens from the start on; `url` has no path."""

    def __init__(self) -> None:
        self._spans: list[KeptSpan] = []
        kept = self._spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    kept.extend(spans_of(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, trace: str, count: int, timeout: float = 30) -> dict[str, KeptSpan]:
        """The spans of a trace by name, once there are so many."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            found = [span for span in self._spans if span.trace == trace]
            if len(found) >= count:
                return {span.name: span for span in found}
            time.sleep(0.05)
        raise AssertionError(f"not {count} spans of {trace}: {self._spans}")


def spans_of(body: bytes) -> list[KeptSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        KeptSpan(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.kind,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == 2,
            texts(span.attributes),
            texts(of_resource.resource.attributes),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def texts(attributes: object) -> dict[str, str]:
    return {
        pair.key: pair.value.string_value or str(pair.value.int_value)
        for pair in attributes  # type: ignore[attr-defined]
    }
