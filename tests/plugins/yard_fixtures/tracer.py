"""A model that makes spans of its own with OpenTelemetry, to the collector in its environment."""

import os

from marshmallow import fields
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from modelyard.models_plugin import Model
from modelyard.models_plugin.tracing import traceparents


class Tracer(Model):
    """Answers with what it was told of the trace."""

    predict_arguments = {"fail": fields.Boolean(load_default=False)}
    weights_optional = True

    def load(self, weights, device):
        provider = TracerProvider()
        if "COLLECTOR" in os.environ:
            exporter = OTLPSpanExporter(endpoint=os.environ["COLLECTOR"])
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracer = provider.get_tracer("plugin")

    def predict(self, fail):
        with self.tracer.start_as_current_span("plugin") as span:
            if fail:
                raise ValueError("as asked")
            trace_id = format(span.get_span_context().trace_id, "032x")
            current = trace.get_current_span() is span
            return {"trace": trace_id, "told": list(traceparents()), "current": current}
