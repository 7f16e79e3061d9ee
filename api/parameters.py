"""What the server itself reads from queries and headers, by route: validated and documented."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from ..schemas.export_resources import EXPORT_LIMIT_S
from ..schemas.model_operations import LONGEST_TIMEOUT_S, SHORTEST_TIMEOUT_S
from ..schemas.states import Status
from .idempotency import HEADER, KEY, LONGEST_KEY

LONGEST_PAGE = 1000


class ListRunsQuery(Schema):
    """The query of the list of runs."""

    limit = fields.Integer(
        validate=validate.Range(min=1, max=LONGEST_PAGE),
        metadata={"description": "How many, newest first. Without it all, oldest first."},
    )
    cursor = fields.String(metadata={"description": "Where a page goes on, from a `Link` header."})
    status = fields.String(
        validate=validate.OneOf([status.value for status in Status]),
        metadata={"description": "Only runs of this status."},
    )


class EndRunQuery(Schema):
    """The query of a DELETE of a run."""

    purge = fields.Boolean(
        load_default=False,
        metadata={
            "description": "Remove an ended run for good, with record, log and checkpoints. The "
            "weights versions that it made stay."
        },
    )


class ListWeightsQuery(Schema):
    """The query of the list of weights versions."""

    limit = fields.Integer(
        validate=validate.Range(min=1, max=LONGEST_PAGE),
        metadata={"description": "How many, newest first; 100 if it is not given."},
    )
    cursor = fields.String(metadata={"description": "Where a page goes on, from a `Link` header."})
    tag = fields.String(metadata={"description": "Only versions that have this tag."})
    state = fields.String(
        validate=validate.OneOf(["publishing", "ready", "failed"]),
        metadata={"description": "Only versions in this state."},
    )


class LogQuery(Schema):
    """The query of a run's log."""

    tail = fields.Integer(
        validate=validate.Range(min=0, max=1_000_000),
        metadata={"description": "Only so many last lines."},
    )
    follow = fields.Boolean(
        load_default=False, metadata={"description": "Go on until the run has ended."}
    )


class MetricsQuery(Schema):
    """The query of a run's metrics."""

    name = fields.List(
        fields.String(), metadata={"description": "Only this metric; may be repeated."}
    )
    since = fields.Integer(
        load_default=-1, metadata={"description": "Only what was reported after this step."}
    )


class EventsQuery(Schema):
    """The query of a run's events."""

    log = fields.Boolean(
        load_default=False, metadata={"description": "Send the lines of the log too."}
    )


class ReadyQuery(Schema):
    """The query of readiness."""

    model = fields.String(
        metadata={"description": "A model that must be loaded and warmed too, or `all`."}
    )


class KeyHeaders(Schema):
    """What stands in the head of a POST that creates."""

    key = fields.String(
        data_key=HEADER,
        validate=validate.Length(min=1, max=LONGEST_KEY),
        metadata={
            "description": "Makes a repeat safe for 24 hours: the same request with the same key "
            "is done once and answered alike; another request with it is refused (409).",
            "pattern": f"^{KEY}$",
        },
    )


class ExportHeaders(KeyHeaders):
    """What stands in the head of a POST that makes an export."""

    timeout = fields.Float(
        data_key="X-Request-Timeout",
        validate=validate.Range(min=SHORTEST_TIMEOUT_S, max=LONGEST_TIMEOUT_S),
        metadata={
            "description": "Seconds after which the export is given up and its process ended, from "
            "when the request came. Without it the model may take "
            f"{EXPORT_LIMIT_S:g} s, from when it is its turn."
        },
    )


class InferHeaders(Schema):
    """What stands in the head of a request of the Open Inference Protocol."""

    json_size = fields.Integer(
        data_key="Inference-Header-Content-Length",
        validate=validate.Range(min=0),
        metadata={"description": "Bytes of JSON, behind which tensors follow as bytes."},
    )
    weights = fields.String(
        data_key="X-Modelyard-Weights",
        metadata={"description": "The weights version to predict with: an id or an alias."},
    )
    timeout = fields.Float(
        data_key="X-Request-Timeout",
        validate=validate.Range(min=SHORTEST_TIMEOUT_S, max=LONGEST_TIMEOUT_S),
        metadata={"description": "Seconds after which the call is given up."},
    )


class EventsHeaders(Schema):
    """Where a client that comes back goes on."""

    last = fields.String(
        data_key="Last-Event-ID", metadata={"description": "The id of the last event that came."}
    )
