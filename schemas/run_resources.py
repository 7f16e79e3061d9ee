"""What is sent to go on with a run. Runs in the front."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema


class ResumeSchema(Schema):
    """The secret arguments of a training that has ended, by name; nothing else is needed."""

    class Meta:
        unknown = INCLUDE
