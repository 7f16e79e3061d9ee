"""Archives and share links, as marshmallow schemas: they read requests, dump answers and document
both.

Runs in the front.
"""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from .resource_fields import WholeNumber, text_field, time_field

FORMATS = ("tar.gz", "tar.xz", "zip")
DAY_S = 86_400
LONGEST_LINK_S = 365 * DAY_S


def _format() -> fields.String:
    return fields.String(
        load_default=FORMATS[0],
        validate=validate.OneOf(FORMATS),
        metadata={"description": "What it is packed as."},
    )


class ArchiveQuery(Schema):
    """The query of an archive."""

    format = _format()


class LinkRequestSchema(Schema):
    """What a new link gives, and for how long."""

    format = _format()
    expires_s = WholeNumber(
        load_default=DAY_S,
        validate=validate.Range(min=1, max=LONGEST_LINK_S),
        metadata={"description": "Seconds until it ends."},
        error_messages={"invalid": "Not a whole number: give seconds, such as 86400."},
    )


class ShareLinkSchema(Schema):
    """An address that gives an archive to whoever has it."""

    url = text_field("The address.", required=True)
    expires_at = time_field("When it ends.", required=True)
    by = fields.String(
        required=True,
        metadata={
            "description": "Who answers there: this `server`, or the `store` alone.",
            "enum": ["server", "store"],
        },
    )
