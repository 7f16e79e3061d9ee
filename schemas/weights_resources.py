"""Weights versions and their aliases, as marshmallow schemas: they dump answers, read requests and
document both.

Runs in the front.
"""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from .resource_fields import (
    LINES_WITHOUT_CONTROLS,
    WITHOUT_CONTROLS,
    id_field,
    text_field,
    time_field,
    without_controls,
)

MOST_TAGS, LONGEST_TAG, LONGEST_NOTES = 100, 100, 20_000


class WeightsFileSchema(Schema):
    """One file of a weights version."""

    path = text_field("Its path inside the version.", required=True)
    size = fields.Integer(required=True, metadata={"description": "Bytes."})
    sha256 = text_field("The SHA-256 of its bytes, in hex.")


class TransferSchema(Schema):
    """How far a version is on its way to or from the store, in bytes."""

    done = fields.Integer(required=True)
    total = fields.Integer(required=True)


class WeightsLinksSchema(Schema):
    """Where the parts of a version are found."""

    self = text_field("The version.")
    archive = text_field("All of it in one file.")
    card = text_field("What there is to know of it, as Markdown.")
    lineage = text_field("What it was made from.")
    exports = text_field("It in formats that run elsewhere.")
    run = text_field("The training that made it.")


class WeightsSchema(Schema):
    """One version of a model's weights."""

    id = id_field("Its id.", required=True)
    model = text_field("The model that it belongs to.", required=True)
    run = id_field("The training that made it, maybe on another server.", allow_none=True)
    origin = text_field("`training`, `promotion` of another checkpoint, or `import`.")
    created_at = time_field("When it was made.")
    state = fields.String(
        metadata={
            "description": "`publishing` until the shared store has it, also while it is mended "
            "there; `failed` if that cannot be (`reason` says why), else `ready`. It can be "
            "predicted with in each of them.",
            "enum": ["publishing", "ready", "failed"],
        }
    )
    reason = text_field("Why it is not in the store, or not mended, yet.", allow_none=True)
    attempts = fields.Integer(metadata={"description": "How often publishing it was tried."})
    local = fields.Boolean(
        metadata={"description": "Its files are on this server; else they are fetched when used."}
    )
    stored = fields.Boolean(metadata={"description": "The shared store has it."})
    transfer = fields.Nested(TransferSchema, allow_none=True)
    step = fields.Integer(allow_none=True, metadata={"description": "The step it was saved at."})
    checkpoint = text_field("`best` or `last`: which checkpoint it was.", allow_none=True)
    metrics = fields.Dict(allow_none=True, metadata={"description": "What it reached."})
    files = fields.List(
        fields.Nested(WeightsFileSchema),
        metadata={"description": "Its files; lists of versions leave them out."},
    )
    size = fields.Integer(metadata={"description": "Bytes of all files."})
    aliases = fields.List(
        fields.String(), metadata={"description": "Other names: `latest`, `production`."}
    )
    tags = fields.List(fields.String(), metadata={"description": "Words of people."})
    notes = text_field("What people say of it.", allow_none=True)
    parent = id_field("The version that it was trained on from.", allow_none=True)
    dataset = id_field("The stored dataset that it was trained with.", allow_none=True)
    links = fields.Nested(WeightsLinksSchema)


class WeightsListSchema(Schema):
    """The weights versions of a model, newest first."""

    weights = fields.List(fields.Nested(WeightsSchema), required=True)


class LabelsSchema(Schema):
    """What people say of a version; what is left out stays."""

    tags = fields.List(
        fields.String(
            validate=[validate.Length(min=1, max=LONGEST_TAG), without_controls()],
            metadata={"pattern": WITHOUT_CONTROLS},
        ),
        validate=validate.Length(max=MOST_TAGS),
        metadata={
            "description": "All its tags, without control characters; an empty list removes them."
        },
    )
    notes = fields.String(
        allow_none=True,
        validate=[validate.Length(max=LONGEST_NOTES), without_controls(lines=True)],
        metadata={
            "description": "Its notes, without control characters but ends of lines and tabs; null "
            "removes them.",
            "pattern": LINES_WITHOUT_CONTROLS,
        },
    )


MOST_SHARES = 4


class ShareSchema(Schema):
    """A version and its part of the calls."""

    version = fields.String(
        required=True,
        validate=validate.Length(min=1, max=100),
        metadata={"description": "The id of a version, or another alias of it."},
    )
    weight = fields.Float(
        load_default=1.0,
        validate=validate.Range(min=0, max=1_000_000, min_inclusive=False),
        metadata={
            "description": "Its part, beside the weights of the others.",
            "exclusiveMinimum": 0,  # apispec does not read min_inclusive
        },
    )


class AliasSchema(Schema):
    """A name of a version, that may be moved to another one."""

    name = text_field("The name.", required=True)
    version = id_field("The version that it names; of several the first.", required=True)
    versions = fields.List(
        fields.Nested(ShareSchema),
        metadata={"description": "All versions that calls are divided between, by weight."},
    )
    shadow = id_field("The version that gets copies of calls.", allow_none=True)
    shadow_share = fields.Float(
        allow_none=True, metadata={"description": "The part of the calls that it gets, up to 1."}
    )
    problem = text_field(
        "Why calls are not divided so at this moment: the others answer for a version that "
        "cannot be loaded.",
        allow_none=True,
    )
    moved_at = time_field("When it was moved to it.")
    previous = id_field("The version that a rollback would move it to.", allow_none=True)
    stored = fields.Boolean(
        metadata={"description": "The other servers that share the store can know of it."}
    )


class AliasListSchema(Schema):
    """The aliases of a model, `latest` first."""

    aliases = fields.List(fields.Nested(AliasSchema), required=True)


class MoveAliasSchema(Schema):
    """Where an alias is to be moved: `version`, or `versions`."""

    version = fields.String(
        validate=validate.Length(min=1, max=100),
        metadata={"description": "The id of a version, or another alias of it."},
    )
    versions = fields.List(
        fields.Nested(ShareSchema),
        validate=validate.Length(min=1, max=MOST_SHARES),
        metadata={
            "description": "Versions that the calls are divided between, by weight; the first is "
            "the one that stands for the alias wherever a single version is meant."
        },
    )
    shadow = fields.String(
        allow_none=True,
        validate=validate.Length(min=1, max=100),
        metadata={"description": "A version that gets copies of calls; nobody waits for it."},
    )
    shadow_share = fields.Float(
        load_default=1.0,
        validate=validate.Range(min=0, max=1, min_inclusive=False),
        metadata={
            "description": "The part of the calls that the shadow gets.",
            "exclusiveMinimum": 0,
        },
    )

    @validates_schema
    def _check_one(self, data: dict[str, Any], **_: Any) -> None:
        if ("version" in data) == ("versions" in data):
            raise ValidationError("Give `version`, or `versions` with weights.", "version")
