"""Settings of the disk: what may be kept there, and what has to stay free."""

from __future__ import annotations

from dataclasses import dataclass

from marshmallow import Schema

from .fields import about
from .numbers import Size


@dataclass(frozen=True)
class DiskSettings:
    """What `Settings` says of the disk. Sizes are in bytes."""

    storage_cache: int = 20 * 1024**3
    model_cache: int = 10 * 1024**3
    min_free: int = 256 * 1024**2


class DiskSettingsSchema(Schema):
    """The same as files, variables and flags give them."""

    storage_cache = Size(
        zero="no limit",
        metadata=about(
            "bytes of weights and datasets fetched from the store that are kept in the home; the "
            "least recently used go first; 0 is no limit"
        ),
    )
    model_cache = Size(
        zero="no limit",
        metadata=about(
            "bytes that models' libraries may keep in HOME/cache for their next process; what was "
            "used longest ago goes first, of the model that has most; 0 is no limit"
        ),
    )
    min_free = Size(
        zero="no limit",
        metadata=about(
            "bytes of the home's disk that stay free: what would take of them is refused (507), so "
            "that records and running trainings can be written; 0 is no limit"
        ),
    )
