"""What the Open Inference Protocol (V2) says, as schemas: they document, a worker does the reading.

https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_rest.yaml.
Runs in the front.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from .resource_fields import text_field


class InferErrorSchema(Schema):
    """What went wrong, in the protocol's form."""

    error = text_field("What went wrong, in words.", required=True)


class LiveSchema(Schema):
    """The server is alive."""

    live = fields.Boolean(required=True)


class ServerReadySchema(Schema):
    """The server can do its work, and every model of it."""

    ready = fields.Boolean(required=True)


class ModelReadySchema(Schema):
    """The model can answer."""

    name = text_field("The model.", required=True)
    ready = fields.Boolean(required=True)


class InputSchema(Schema):
    """A tensor that is sent: `data` in JSON (nested, or flat in C order), or bytes behind it."""

    name = text_field("The argument.", required=True)
    shape = fields.List(fields.Integer(), required=True)
    datatype = text_field("`FP32`, `INT64`, ...", required=True)
    parameters = fields.Dict(metadata={"description": "`binary_data_size`: bytes behind the JSON."})
    data = fields.List(fields.Raw())


class WantedOutputSchema(Schema):
    """A tensor that is asked for."""

    name = text_field("The member of the answer.", required=True)
    parameters = fields.Dict(metadata={"description": "`binary_data`: as bytes behind the JSON."})


class InferRequestSchema(Schema):
    """Tensors for a model. `parameters` may hold its further arguments."""

    id = text_field("Comes back with the answer.")
    parameters = fields.Dict()
    inputs = fields.List(fields.Nested(InputSchema), required=True)
    outputs = fields.List(fields.Nested(WantedOutputSchema))


class OutputSchema(Schema):
    """A tensor that the model returned; `data` is flat, in C order."""

    name = text_field("The member of the answer.", required=True)
    shape = fields.List(fields.Integer(), required=True)
    datatype = text_field("`FP32`, `INT64`, ...", required=True)
    parameters = fields.Dict()
    data = fields.List(fields.Raw())


class InferAnswerSchema(Schema):
    """What the model returned."""

    model_name = text_field("The model.", required=True)
    id = text_field("As in the request.")
    parameters = fields.Dict(metadata={"description": "Single values of the answer."})
    outputs = fields.List(fields.Nested(OutputSchema), required=True)
