"""Which weights versions runs may ask for that have not ended.

Functions take a connection and run in the record store's thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from .aliases import current_aliases
from .runs import RunRecord, untidied_runs


def versions_of_runs(connection: Connection) -> dict[str, str]:
    """Ids of the versions that arguments of unfinished runs name, by id or alias, and the run's."""
    found: dict[str, str] = {}
    for run in untidied_runs(connection):
        if not run.finished:
            for version in _named(connection, run):
                found[version] = run.id
    return found


def _named(connection: Connection, run: RunRecord) -> Iterator[str]:
    aliases = current_aliases(connection, run.model)
    for text in _texts(run.args):
        move = aliases.get(text)
        version = text if move is None else move.version
        if version is not None:
            yield version
    if run.repeats is not None:
        yield run.repeats


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
