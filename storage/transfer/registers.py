"""Registers: values that several servers move, as append-only entries in the store.

No store keeps two servers from writing at the same moment (most ignore `If-None-Match`), so each
appends an entry under a name of its own, and everybody takes the highest (counter, server).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ...errors import Corrupt, ObjectMissing
from ..stores.base import ObjectStore
from ..versions import DEEPEST, nests_deeper
from .layout import register_key, register_of, register_prefix
from .results import RegisterEntry
from .sealed import get_sealed, seal

_LIMIT = 1024 * 1024


def move(
    store: ObjectStore, register: str, value: Mapping[str, Any], counter: int, server: str
) -> int:
    """Appends an entry; returns its counter: `counter`, or the next above all that are there."""
    prefix = register_prefix(register)
    for item in store.list(prefix, after=f"{prefix}{counter:012d}"):
        entry = register_of(item.key)
        if entry is not None and entry[0] == register:
            counter = max(counter, entry[1] + 1)
    moved_at = datetime.now(UTC).isoformat()
    text = seal(json.dumps({"value": dict(value), "moved_at": moved_at}).encode())
    while not store.put_bytes(register_key(register, counter, server), text, if_absent=True):
        counter += 1
    return counter


def newest(store: ObjectStore) -> Iterator[tuple[str, int, str]]:
    """(register, counter, server) of the entry that holds, for every register of the store.

    The listing is in the order of the keys, so that one register's entries follow each other.
    """
    held: tuple[str, int, str] | None = None
    for item in store.list("registers/"):
        entry = register_of(item.key)
        if entry is None:
            continue
        if held is not None and held[0] != entry[0]:
            yield held
            held = None
        held = entry if held is None else max(held, entry)
    if held is not None:
        yield held


def read_entry(store: ObjectStore, register: str, counter: int, server: str) -> RegisterEntry:
    """Raises ObjectMissing, and Corrupt if it is no entry."""
    key = register_key(register, counter, server)
    try:
        value = dict(json.loads(get_sealed(store, key, _LIMIT))["value"])
        if nests_deeper(value, DEEPEST):
            raise ValueError(f"nests deeper than {DEEPEST} levels")
        return RegisterEntry(register, counter, server, value)
    except ObjectMissing:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt(f"{key}: is no entry of a register ({error})") from error
