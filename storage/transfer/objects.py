"""Which objects of a store a manifest needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .layout import blob_key, pack_key
from .manifests import File, PlacedPack


class StoredObject(NamedTuple):
    """An object that a manifest needs. `size` is in bytes."""

    key: str
    size: int


def objects_of(files: Iterable[File], packs: Iterable[PlacedPack]) -> list[StoredObject]:
    """The blobs and packs that a manifest needs."""
    packs = list(packs)
    packed = {digest for pack in packs for digest in pack.places}
    blobs = {f.sha256: f.size for f in files if f.size and f.sha256 not in packed}
    return [
        *(StoredObject(pack_key(pack.sha256), pack.size) for pack in packs),
        *(StoredObject(blob_key(digest), size) for digest, size in blobs.items()),
    ]
