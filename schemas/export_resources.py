"""Exports and lineage of weights versions as marshmallow schemas. Run in the front."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from .resource_fields import id_field, text_field, time_field
from .weights_resources import WeightsFileSchema

FORMAT_NAME = "[a-z0-9_]{1,50}"
EXPORT_LIMIT_S = 600.0
"""Seconds that a model may take for one export, where the request says nothing else."""


class ExportRequestSchema(Schema):
    """Which export to make."""

    format = fields.String(
        required=True,
        validate=validate.Regexp(f"{FORMAT_NAME}\\Z"),
        metadata={
            "description": "Its format: one of `formats` in the list of exports.",
            "pattern": f"^{FORMAT_NAME}$",  # JSON Schema has no such anchor
        },
    )


class ExportSchema(Schema):
    """A weights version in another format."""

    format = text_field("Its format.", required=True)
    created_at = time_field("When it was made.", required=True)
    file = text_field("The name of the file that is handed out.", required=True)
    size = fields.Integer(required=True, metadata={"description": "Bytes of that file."})
    sha256 = text_field("The SHA-256 of its bytes, in hex.", required=True)
    files = fields.List(
        fields.Nested(WeightsFileSchema),
        required=True,
        metadata={"description": "What was written: several files are handed out as one zip."},
    )
    max_difference = fields.Float(
        required=True,
        metadata={"description": "The largest difference to the model's own answers."},
    )
    samples = fields.Integer(
        required=True, metadata={"description": "How many sample inputs were compared."}
    )
    details = fields.Dict(metadata={"description": "What else the model told: shapes, classes."})
    links = fields.Dict(metadata={"description": "`self`: where the file is."})


class ExportsSchema(Schema):
    """The exports of a weights version."""

    formats = fields.List(
        fields.String(), required=True, metadata={"description": "What can be made of it."}
    )
    exports = fields.List(fields.Nested(ExportSchema), required=True)


class LineageDatasetSchema(Schema):
    """The stored dataset that a training read, or the folder below the server's data root."""

    id = id_field("Its id; null for a folder.", allow_none=True)
    name = text_field("Its name.", allow_none=True)
    digest = text_field("The SHA-256 of its content, whatever it was packed in.", allow_none=True)
    problem = text_field("Why a folder has no digest: its files changed, say.")


class LineageSchema(Schema):
    """Where a weights version comes from. Parts that were not recorded are null."""

    id = id_field("The version.", required=True)
    model = text_field("The model that it belongs to.", required=True)
    run = id_field("The training that made it.", allow_none=True)
    created_at = time_field("When it was made.")
    origin = text_field("`training`, `promotion` or `import`.")
    step = fields.Integer(allow_none=True, metadata={"description": "The step it was saved at."})
    checkpoint = text_field("`best` or `last`: which checkpoint it was.", allow_none=True)
    metrics = fields.Dict(metadata={"description": "What it reached."})
    parent = id_field("The version that it was fine-tuned from.", allow_none=True)
    dataset = fields.Nested(LineageDatasetSchema, allow_none=True)
    uploads = fields.List(
        fields.Dict(),
        allow_none=True,
        metadata={"description": "Files sent with the request: field, filename, size, sha256."},
    )
    arguments = fields.Dict(
        allow_none=True,
        metadata={"description": "All arguments with their defaults, without secret ones."},
    )
    secrets = fields.List(
        fields.String(), metadata={"description": "Names of secret arguments that were given."}
    )
    seed = fields.Integer(allow_none=True)
    weights = fields.Dict(
        metadata={"description": "Versions that the training read, by the name it asked for."}
    )
    code = fields.Dict(
        allow_none=True,
        metadata={"description": "Distribution, version, entry point, source hash, git state."},
    )
    environment = fields.Dict(
        allow_none=True, metadata={"description": "Python, platform, packages, torch, GPUs."}
    )
    earlier = fields.List(
        fields.Dict(),
        metadata={"description": "Code and environment of earlier attempts that differ."},
    )
    resumed_from = id_field("The ended run that its run went on from.", allow_none=True)
    repeats = id_field("The version whose training it repeats.", allow_none=True)
    curves = fields.Dict(
        metadata={"description": "Points `[step, value]` by metric, at most 100 each."}
    )
    links = fields.Dict(metadata={"description": "The version, its run, its parent."})
