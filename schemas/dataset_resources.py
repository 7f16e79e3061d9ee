"""Datasets and their uploads, as marshmallow schemas: they dump answers, check bodies, document.

Runs in the front.
"""

from __future__ import annotations

import re

from marshmallow import Schema, ValidationError, fields, validate

from .resource_fields import WholeNumber, id_field, text_field, time_field
from .weights_resources import TransferSchema

DATASET_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
DATASET_REFERENCE = f"{DATASET_NAME}(@[1-9][0-9]{{0,8}})?"
_LONGEST_NAME = 1000
_ID = re.compile(r"[0-9a-f]{32}\Z")
_SHA256 = validate.Regexp(r"[0-9a-fA-F]{64}\Z", error="Not a SHA-256: give 64 hex digits.")


class DatasetName(fields.String):
    """A name for a dataset: no id of one, and no word of our addresses."""

    def __init__(self, about: str, **kwargs: object) -> None:
        metadata = {"description": about, "pattern": f"^{DATASET_NAME}$"}
        super().__init__(validate=_check_name, metadata=metadata, **kwargs)  # type: ignore[arg-type]


def _check_name(value: str) -> None:
    validate.Regexp(
        f"{DATASET_NAME}\\Z",
        error="Not a name: give letters, digits, '.', '_' and '-', at most 100.",
    )(value)
    if value.lower() == "uploads" or _ID.match(value):
        raise ValidationError("This word means something else here: give another name.")


class DatasetLinksSchema(Schema):
    """Where the parts of a dataset are found."""

    self = text_field("The record.")
    report = text_field("What its reader found wrong.")


class DatasetSchema(Schema):
    """One version of a dataset."""

    id = id_field("Its id.", required=True)
    name = text_field("Its name.", required=True)
    number = fields.Integer(
        required=True, metadata={"description": "Counts the versions of the name, from 1."}
    )
    reference = text_field("What trainings may name it by: `name@number`.", required=True)
    digest = text_field(
        "SHA-256 over paths, sizes and bytes of its files: equal for equal content, whatever it "
        "was packed in."
    )
    state = text_field("`ready`; `publishing` until the shared store has it; `failed`: `reason`.")
    reason = text_field("Why it was not published yet.", allow_none=True)
    created_at = time_field("When it was taken in.")
    model = text_field("The model whose reader has looked at it.", allow_none=True)
    files = fields.Integer(metadata={"description": "How many files it has."})
    size = fields.Integer(metadata={"description": "Bytes of all files."})
    statistics = fields.Dict(
        allow_none=True,
        metadata={
            "description": "Files and bytes by top folder and suffix; of a reader also `splits`, "
            "`classes`, `counts` and `sizes`."
        },
    )
    problems = fields.Dict(
        allow_none=True,
        metadata={"description": "How many errors and warnings the report has, if there is one."},
    )
    source = fields.Dict(allow_none=True, metadata={"description": "Where it came from."})
    local = fields.Boolean(metadata={"description": "Whether its files are on this server."})
    stored = fields.Boolean(metadata={"description": "Whether the shared store has it."})
    progress = fields.Nested(
        TransferSchema, allow_none=True, metadata={"description": "To the store, or from it."}
    )
    links = fields.Nested(DatasetLinksSchema)


class DatasetsSchema(Schema):
    """Dataset versions, newest first."""

    datasets = fields.List(fields.Nested(DatasetSchema), required=True)


class ProblemLineSchema(Schema):
    """One thing that is wrong with a dataset."""

    file = text_field("Its path in the dataset.", allow_none=True)
    line = fields.Integer(allow_none=True, metadata={"description": "From 1."})
    message = text_field("What is wrong.", required=True)
    level = text_field("`error`, `warning` or `note`.", required=True)


class DatasetReportSchema(Schema):
    """What the reader of a model found in a dataset."""

    dataset = id_field("The dataset.", required=True)
    model = text_field("The model whose reader it was; null if none has looked.", allow_none=True)
    errors = fields.Integer(required=True)
    warnings = fields.Integer(required=True)
    problems = fields.List(fields.Nested(ProblemLineSchema), required=True)
    left_out = fields.Integer(metadata={"description": "Problems beyond those listed."})


class ListDatasetsQuery(Schema):
    """The query of the list of datasets."""

    limit = fields.Integer(
        load_default=100,
        validate=validate.Range(min=1, max=1000),
        metadata={"description": "How many, newest first."},
    )
    cursor = fields.Integer(
        validate=validate.Range(min=0, max=2**63 - 1),
        metadata={"description": "Where a page goes on, from a `Link` header."},
    )
    name = DatasetName("Only versions of this name.")


class CreateDatasetQuery(Schema):
    """The query of a POST with a dataset."""

    name = DatasetName("Its name; without it that of the file that is sent.")
    model = text_field(
        "The model whose reader looks at it; without it that of the only model that has a reader."
    )


class AddressSchema(Schema):
    """A dataset that lies in an object store already."""

    name = DatasetName("Its name; without it that of the object.")
    model = text_field("As in the query.")
    address = fields.String(
        required=True,
        metadata={
            "description": "`s3://bucket/key` of an archive or a file, below one of the prefixes "
            "that this server allows (--dataset-sources).",
            "pattern": "^s3://[^/]+(/[^/]+)+$",
        },
    )


class DeleteDatasetQuery(Schema):
    """The query of the deletion of a dataset."""

    force = fields.Boolean(
        load_default=False,
        metadata={"description": "Also if ended trainings could still be resumed with it."},
    )


class BeginUploadSchema(Schema):
    """What is to be uploaded in parts."""

    filename = fields.String(
        required=True,
        validate=validate.Length(1, _LONGEST_NAME),
        metadata={"description": "Its suffix tells whether it is an archive."},
    )
    size = WholeNumber(
        required=True,
        validate=validate.Range(min=1, max=2**50),
        metadata={"description": "Bytes."},
    )
    sha256 = fields.String(
        validate=_SHA256,
        metadata={
            "description": "Of the whole file: checked at the end.",
            "pattern": "^[0-9a-fA-F]{64}$",  # JSON Schema has no such anchor
        },
    )
    name = DatasetName("The dataset's name; without it that of the file.")
    model = text_field("The model whose reader looks at it.")


class UploadLinksSchema(Schema):
    """Where an upload goes on."""

    self = text_field("The upload.")
    parts = text_field("Put each part below it, by its number.")
    complete = text_field("POST here when all parts are there.")


class UploadSchema(Schema):
    """An upload that comes in parts."""

    id = id_field("Its id.", required=True)
    filename = text_field("The client's name of the file.")
    name = text_field("The dataset's name.")
    model = text_field("The model whose reader will look at it.", allow_none=True)
    size = fields.Integer(metadata={"description": "Bytes in all."})
    part_size = fields.Integer(
        metadata={"description": "Bytes of each part but the last."}, required=True
    )
    part_count = fields.Integer(metadata={"description": "How many parts: they count from 1."})
    parts = fields.List(
        fields.Integer(), metadata={"description": "Numbers of the parts that are here."}
    )
    state = text_field(
        "`receiving`; `ingesting` while it is unpacked, hashed and read; `done`: `dataset` is "
        "there; `failed`: `error` says why, it may be completed again or deleted.",
        required=True,
    )
    progress = fields.Nested(
        TransferSchema, allow_none=True, metadata={"description": "Of the ingestion."}
    )
    dataset = id_field("What became of it.", allow_none=True)
    created = fields.Boolean(
        metadata={"description": "False if that content was here under this name already."}
    )
    error = text_field("Why it could not be taken in.", allow_none=True)
    created_at = text_field("When it was begun. RFC 3339, UTC.")
    links = fields.Nested(UploadLinksSchema)


class PartHeaders(Schema):
    """What the head of a part may say."""

    digest = fields.String(
        data_key="Content-Digest",
        metadata={
            "description": "`sha-256=:BASE64:` of this part (RFC 9530): one that came with other "
            "bytes is refused."
        },
    )
