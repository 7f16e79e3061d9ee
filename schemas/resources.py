"""The server's own resources, as marshmallow schemas: they dump answers and document them.

Runs in the front. The words of enumerations and their sentences come from `states.py`.
"""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, Schema, fields, post_dump

from .resource_fields import WordField, id_field, text_field, time_field
from .states import Phase, Reason, Status


class LinkSchema(Schema):
    """Where something is found."""

    rel = text_field("What it is to this document (RFC 8288).", required=True)
    type = text_field("Its content type.")
    href = text_field("Its address, from the root of this host.", required=True)


class VersionSchema(Schema):
    """One version of the API."""

    class Meta:
        unknown = INCLUDE

    id = text_field("The first part of its addresses.", required=True)
    version = text_field("How settled it is.", required=True)
    name = text_field("The server software.")
    server = text_field("The release of the server software.")
    extensions = fields.List(fields.String())
    links = fields.List(fields.Nested(LinkSchema), required=True)


class VersionsSchema(Schema):
    """The versions of the API that this server speaks."""

    versions = fields.List(fields.Nested(VersionSchema), required=True)
    links = fields.List(fields.Nested(LinkSchema))


class ProtectedResourceSchema(Schema):
    """How to get a token for this server (RFC 9728)."""

    resource = text_field("The server's address, as it was asked.", required=True)
    resource_name = text_field("What it is.")
    bearer_methods_supported = fields.List(fields.String())
    authorization_servers = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Issuers whose tokens are taken; empty: API keys only."},
    )
    modelyard_client_id = text_field("The client at the issuer that `modelyard login` is.")
    modelyard_scopes = text_field("The scopes that it asks for, divided by spaces.")
    modelyard_audience = text_field("The audience that it asks for.")


class TensorSchema(Schema):
    """A tensor of a model, as the Open Inference Protocol tells it."""

    name = text_field("The argument, or the member of the answer.", required=True)
    datatype = text_field("`FP32`, `INT64`, ...", required=True)
    shape = fields.List(
        fields.Integer(), required=True, metadata={"description": "-1 is a free axis."}
    )


class ModelSchema(Schema):
    """A model: what the server knows of it, beside what its author says (any further member)."""

    class Meta:
        unknown = INCLUDE

    id = text_field("Its name in addresses.", required=True)
    name = text_field("Its name.", required=True)
    description = text_field("What its author says that it does.")
    version = text_field("The author's version.", allow_none=True)
    links = fields.List(fields.Nested(LinkSchema), required=True)
    state = fields.String(
        required=True,
        metadata={
            "description": "`importing`, `ready`, `restarting`, `unloaded` (for memory: the next "
            "call loads it), `crashing` (again and again) or `failed`, of which `error` says why.",
            "enum": ["importing", "ready", "failed", "restarting", "crashing", "unloaded"],
        },
    )
    error = text_field("Why it cannot serve.")
    weights_error = text_field("Why the newest weights could not take over; the old ones serve.")
    weights = text_field("The weights version that predictions use by default.", allow_none=True)
    contract = text_field("The contract that its plugin follows.", allow_none=True)
    capabilities = fields.List(fields.String())
    distribution = text_field("The Python distribution that brings it.", allow_none=True)
    platform = text_field("Of a model that `infer` can call: `modelyard`.")
    inputs = fields.List(fields.Nested(TensorSchema))
    outputs = fields.List(fields.Nested(TensorSchema))

    @post_dump(pass_original=True)
    def _keep_metadata(self, data: dict[str, Any], original: Any, **_: Any) -> dict[str, Any]:
        return {**original, **data} if isinstance(original, dict) else data


class ModelDetailSchema(ModelSchema):
    """One model, with its arguments and processes."""

    arguments = fields.Dict(
        allow_none=True, metadata={"description": "Its arguments, described for programs."}
    )
    workers = fields.List(fields.Dict(), metadata={"description": "The processes that serve it."})
    traffic = fields.Dict(
        allow_none=True,
        metadata={
            "description": "How calls that name no version are divided, if `production` divides "
            "them: `versions` with weights, `shadow` with what came of its copies, `problem`."
        },
    )
    choices = fields.Dict(metadata={"description": "Selectable weights versions, newest first."})
    versions = fields.List(
        fields.String(), metadata={"description": "The same, of a model that `infer` can call."}
    )


class ModelsSchema(Schema):
    """Every model of this server, also those that cannot serve."""

    models = fields.List(fields.Nested(ModelSchema), required=True)


class ProgressSchema(Schema):
    """How far a training is, in the model's own unit."""

    done = fields.Float(allow_none=True)
    total = fields.Float(allow_none=True)
    text = fields.String(allow_none=True)
    step = fields.Integer(
        allow_none=True, metadata={"description": "The optimizer step that was last reported."}
    )


class OutcomeSchema(Schema):
    """What a training that is done has to tell."""

    output = fields.Raw(allow_none=True, metadata={"description": "What train() returned."})
    finish_date = text_field("Local time, without a zone.")
    duration = text_field("Hours, minutes and seconds since the submission.")


class RunLinksSchema(Schema):
    """Where the parts of a run are found."""

    self = text_field("The record.")
    log = text_field("Its log, as text.")
    metrics = text_field("Its numbers by name.")
    events = text_field("Its changes, as Server-Sent Events.")
    checkpoints = text_field("What it has saved.")
    tensorboard = text_field("TensorBoard.")
    pause = text_field("POST here pauses it; there while it can be paused.")
    resume = text_field("POST here goes on with it; there once it is paused, or has ended undone.")


class AttemptSchema(Schema):
    """One time that a training was begun."""

    number = fields.Integer(required=True, metadata={"description": "From 1."})
    started_at = text_field("When it was begun, RFC 3339 in UTC.", required=True)
    ended_at = text_field("When it was over; not there while it runs.", allow_none=True)
    reason = text_field("Why it ended, a word of `reason`; none where it paused.", allow_none=True)
    message = text_field("What went wrong, and what followed.", allow_none=True)


class RunSchema(Schema):
    """One training."""

    uuid = id_field("Its id.", required=True)
    model = text_field("The model that is trained.")
    date = text_field("When it was submitted, in local time without a zone.", required=True)
    args = fields.Dict(
        required=True, metadata={"description": "Its arguments, without secret ones."}
    )
    status = WordField(Status, required=True)
    phase = WordField(Phase)
    reason = WordField(Reason, allow_none=True)
    message = text_field("What went wrong, in words.", allow_none=True)
    progress = fields.Nested(ProgressSchema, allow_none=True)
    position = fields.Integer(
        allow_none=True, metadata={"description": "Its place in the queue, from 1."}
    )
    attempt = fields.Integer(metadata={"description": "How often its training was begun."})
    attempts = fields.List(
        fields.Nested(AttemptSchema),
        metadata={"description": "Each time that it was begun; of very many the newest."},
    )
    max_seconds = fields.Float(
        allow_none=True,
        metadata={"description": "What its processes may take, all attempts together."},
    )
    restart_on_failure = fields.Integer(
        metadata={"description": "How often it may be begun again after a failure."}
    )
    started_by = text_field("Who submitted it; null under open access.", allow_none=True)
    created_at = time_field("When it was submitted.")
    started_at = time_field("When its process was started.", allow_none=True)
    ended_at = time_field("When it ended.", allow_none=True)
    result = fields.Nested(OutcomeSchema, allow_none=True)
    weights = id_field("The weights version that it made.", allow_none=True)
    dataset = id_field("The stored dataset that it is trained on.", allow_none=True)
    resumed_from = id_field("The ended run that it goes on with.", allow_none=True)
    repeats = id_field("The weights version whose training it repeats.", allow_none=True)
    links = fields.Nested(RunLinksSchema)


class MetricsSchema(Schema):
    """The numbers that a run reported."""

    series = fields.Dict(
        keys=fields.String(),
        values=fields.List(
            fields.List(fields.Raw()),
            metadata={"description": "Points `[step, unix time, value]` in the order of steps."},
        ),
        required=True,
    )
    last_step = fields.Integer(
        allow_none=True, metadata={"description": "Ask again with `since` set to this."}
    )


class CheckpointSchema(Schema):
    """One checkpoint that a run holds."""

    class Meta:
        unknown = INCLUDE

    step = fields.Integer(required=True)
    metric = fields.Float(
        allow_none=True, metadata={"description": "The number that chooses the best."}
    )
    metrics = fields.Dict(allow_none=True)
    created_at = text_field("When it was whole on disk. RFC 3339, UTC.")
    size = fields.Integer(metadata={"description": "Bytes on disk."})


class CheckpointsSchema(Schema):
    """The checkpoints that a run holds now."""

    class Meta:
        unknown = INCLUDE

    last = fields.Integer(allow_none=True, metadata={"description": "The step of the last one."})
    best = fields.Integer(allow_none=True, metadata={"description": "The step of the best one."})
    items = fields.List(fields.Nested(CheckpointSchema), required=True)


class ProblemSchema(Schema):
    """Why a request failed (RFC 9457). Some problems have further members."""

    class Meta:
        unknown = INCLUDE

    type = text_field("A word for programs, as a URN.", required=True)
    title = text_field("The status in words.", required=True)
    status = fields.Integer(required=True, metadata={"description": "The status code."})
    detail = text_field("What went wrong and what helps.", required=True)
    message = text_field("The same as `detail`, as DEEPaaS clients read it.", required=True)


class ArgumentErrorsSchema(Schema):
    """What is wrong with each argument: its name, and messages (in an object, by member)."""

    class Meta:
        unknown = INCLUDE


class PredictionSchema(Schema):
    """A prediction of a model without a response schema of its own."""

    status = fields.String(required=True, metadata={"description": "`OK`."})
    predictions = fields.Raw(
        required=True, allow_none=True, metadata={"description": "What the model answered."}
    )


class DocumentSchema(Schema):
    """An OpenAPI document."""

    class Meta:
        unknown = INCLUDE

    openapi = fields.String(required=True)
    info = fields.Dict(required=True)
    paths = fields.Dict(required=True)


class SwaggerSchema(Schema):
    """A Swagger 2.0 document."""

    class Meta:
        unknown = INCLUDE

    swagger = fields.String(required=True)
    info = fields.Dict(required=True)
    paths = fields.Dict(required=True)
    definitions = fields.Dict(required=True)


class HealthSchema(Schema):
    """The process is alive."""

    status = fields.String(required=True)


class ReadySchema(Schema):
    """The server can do its work."""

    status = fields.String(required=True)
    models = fields.Dict(
        keys=fields.String(), values=fields.String(),
        metadata={"description": "The state of each model that was asked for."},
    )  # fmt: skip
