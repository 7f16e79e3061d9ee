"""What a caller may be allowed to do, in four words.

Runs in the front and the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    """One of them; none includes another."""

    READ = "read"
    """See models, trainings, logs, weights, datasets, metrics; take versions away as files."""
    PREDICT = "predict"
    """Ask models for predictions."""
    TRAIN = "train"
    """Start, pause and cancel trainings, send datasets, export and promote versions."""
    MANAGE = "manage"
    """Move aliases, label, import, share and delete versions, delete datasets, see debug output."""


EVERYTHING = frozenset(Permission)


def in_order(permissions: Iterable[Permission]) -> list[str]:
    """Their words, in the order in which they are declared."""
    given = set(permissions)
    return [str(one) for one in Permission if one in given]
