"""The server's own resources, as marshmallow schemas: they dump answers and document them.

Runs in the front. The words of enumerations and their sentences come from `states.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from marshmallow import INCLUDE, Schema, fields, post_dump

from .states import Phase, Reason, Status, Word


class WordField(fields.String):
    """One word of an enumeration; its sentences are the documentation."""

    def __init__(self, words: type[Word], **kwargs: Any) -> None:
        told = " ".join(f"`{word.value}`: {word.sentence}" for word in words)
        about = (words.__doc__ or "").strip().splitlines()[0]
        enum: list[str | None] = [word.value for word in words]
        if kwargs.get("allow_none"):
            enum.append(None)
        super().__init__(metadata={"description": f"{about} {told}", "enum": enum}, **kwargs)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> Any:
        # str() of a member is its Python name; clients get its word.
        return value.value if isinstance(value, Enum) else value


def _id(about: str, **kwargs: Any) -> fields.String:
    return fields.String(
        metadata={"description": f"{about} 32 hex digits.", "pattern": "^[0-9a-f]{32}$"}, **kwargs
    )


def _text(about: str, **kwargs: Any) -> fields.String:
    return fields.String(metadata={"description": about}, **kwargs)


def _time(about: str, **kwargs: Any) -> fields.DateTime:
    return fields.DateTime(metadata={"description": f"{about} RFC 3339, UTC."}, **kwargs)


class LinkSchema(Schema):
    """Where something is found."""

    rel = _text("What it is to this document (RFC 8288).", required=True)
    type = _text("Its content type.")
    href = _text("Its address, from the root of this host.", required=True)


class VersionSchema(Schema):
    """One version of the API."""

    class Meta:
        unknown = INCLUDE

    id = _text("The first part of its addresses.", required=True)
    version = _text("How settled it is.", required=True)
    name = _text("The server software.")
    server = _text("The release of the server software.")
    extensions = fields.List(fields.String())
    links = fields.List(fields.Nested(LinkSchema), required=True)


class VersionsSchema(Schema):
    """The versions of the API that this server speaks."""

    versions = fields.List(fields.Nested(VersionSchema), required=True)
    links = fields.List(fields.Nested(LinkSchema))


class ModelSchema(Schema):
    """A model: what the server knows of it, beside what its author says (any further member)."""

    class Meta:
        unknown = INCLUDE

    id = _text("Its name in addresses.", required=True)
    name = _text("Its name.", required=True)
    description = _text("What its author says that it does.")
    version = _text("The author's version.", allow_none=True)
    links = fields.List(fields.Nested(LinkSchema), required=True)
    state = fields.String(
        required=True,
        metadata={
            "description": "`importing`, `ready`, `restarting`, or `failed` (`error` says why).",
            "enum": ["importing", "ready", "failed", "restarting"],
        },
    )
    error = _text("Why it cannot serve.")
    weights_error = _text("Why the newest weights could not take over; the old ones serve.")
    weights = _text("The weights version that predictions use by default.", allow_none=True)
    contract = _text("The contract that its plugin follows.", allow_none=True)
    capabilities = fields.List(fields.String())
    distribution = _text("The Python distribution that brings it.", allow_none=True)

    @post_dump(pass_original=True)
    def _keep_metadata(self, data: dict[str, Any], original: Any, **_: Any) -> dict[str, Any]:
        return {**original, **data} if isinstance(original, dict) else data


class ModelDetailSchema(ModelSchema):
    """One model, with its arguments and processes."""

    arguments = fields.Dict(
        allow_none=True, metadata={"description": "Its arguments, described for programs."}
    )
    workers = fields.List(fields.Dict(), metadata={"description": "The processes that serve it."})
    choices = fields.Dict(metadata={"description": "Selectable weights versions, newest first."})


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
    finish_date = _text("Local time, without a zone.")
    duration = _text("Hours, minutes and seconds since the submission.")


class RunLinksSchema(Schema):
    """Where the parts of a run are found."""

    self = _text("The record.")
    log = _text("Its log, as text.")
    metrics = _text("Its numbers by name.")
    events = _text("Its changes, as Server-Sent Events.")
    checkpoints = _text("What it has saved.")
    tensorboard = _text("TensorBoard.")


class RunSchema(Schema):
    """One training."""

    uuid = _id("Its id.", required=True)
    model = _text("The model that is trained.")
    date = _text("When it was submitted, in local time without a zone.", required=True)
    args = fields.Dict(
        required=True, metadata={"description": "Its arguments, without secret ones."}
    )
    status = WordField(Status, required=True)
    phase = WordField(Phase)
    reason = WordField(Reason, allow_none=True)
    message = _text("What went wrong, in words.", allow_none=True)
    progress = fields.Nested(ProgressSchema, allow_none=True)
    position = fields.Integer(
        allow_none=True, metadata={"description": "Its place in the queue, from 1."}
    )
    attempt = fields.Integer(metadata={"description": "How often its training was begun."})
    created_at = _time("When it was submitted.")
    started_at = _time("When its process was started.", allow_none=True)
    ended_at = _time("When it ended.", allow_none=True)
    result = fields.Nested(OutcomeSchema, allow_none=True)
    weights = _id("The weights version that it made.", allow_none=True)
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
    created_at = _text("When it was whole on disk. RFC 3339, UTC.")
    size = fields.Integer(metadata={"description": "Bytes on disk."})


class CheckpointsSchema(Schema):
    """The checkpoints that a run holds now."""

    class Meta:
        unknown = INCLUDE

    last = fields.Integer(allow_none=True, metadata={"description": "The step of the last one."})
    best = fields.Integer(allow_none=True, metadata={"description": "The step of the best one."})
    items = fields.List(fields.Nested(CheckpointSchema), required=True)


class WeightsFileSchema(Schema):
    """One file of a weights version."""

    path = _text("Its path inside the version.", required=True)
    size = fields.Integer(required=True, metadata={"description": "Bytes."})
    sha256 = _text("The SHA-256 of its bytes, in hex.")


class WeightsSchema(Schema):
    """One version of a model's weights."""

    id = _id("Its id.", required=True)
    model = _text("The model that it belongs to.", required=True)
    run = _id("The training that made it.", allow_none=True)
    created_at = _time("When it became ready.")
    state = _text("`ready` once predictions can use it.")
    step = fields.Integer(allow_none=True, metadata={"description": "The step it was saved at."})
    checkpoint = _text("`best` or `last`: which checkpoint it was.", allow_none=True)
    metrics = fields.Dict(allow_none=True, metadata={"description": "What it reached."})
    files = fields.List(fields.Nested(WeightsFileSchema))
    size = fields.Integer(metadata={"description": "Bytes of all files."})
    aliases = fields.List(fields.String(), metadata={"description": "Other names: `latest`."})


class WeightsListSchema(Schema):
    """The weights versions of a model, newest first."""

    weights = fields.List(fields.Nested(WeightsSchema), required=True)


class ProblemSchema(Schema):
    """Why a request failed (RFC 9457). Some problems have further members."""

    class Meta:
        unknown = INCLUDE

    type = _text("A word for programs, as a URN.", required=True)
    title = _text("The status in words.", required=True)
    status = fields.Integer(required=True, metadata={"description": "The status code."})
    detail = _text("What went wrong and what helps.", required=True)
    message = _text("The same as `detail`, as DEEPaaS clients read it.", required=True)


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
