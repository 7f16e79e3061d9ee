"""Weights versions and their aliases, as marshmallow schemas: they dump answers, read requests and
document both.

Runs in the front.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from .resource_fields import id_field, text_field, time_field


class WeightsFileSchema(Schema):
    """One file of a weights version."""

    path = text_field("Its path inside the version.", required=True)
    size = fields.Integer(required=True, metadata={"description": "Bytes."})
    sha256 = text_field("The SHA-256 of its bytes, in hex.")


class WeightsSchema(Schema):
    """One version of a model's weights."""

    id = id_field("Its id.", required=True)
    model = text_field("The model that it belongs to.", required=True)
    run = id_field("The training that made it.", allow_none=True)
    created_at = time_field("When it became ready.")
    state = text_field("`ready` once predictions can use it.")
    step = fields.Integer(allow_none=True, metadata={"description": "The step it was saved at."})
    checkpoint = text_field("`best` or `last`: which checkpoint it was.", allow_none=True)
    metrics = fields.Dict(allow_none=True, metadata={"description": "What it reached."})
    files = fields.List(fields.Nested(WeightsFileSchema))
    size = fields.Integer(metadata={"description": "Bytes of all files."})
    aliases = fields.List(fields.String(), metadata={"description": "Other names: `latest`."})


class WeightsListSchema(Schema):
    """The weights versions of a model, newest first."""

    weights = fields.List(fields.Nested(WeightsSchema), required=True)
