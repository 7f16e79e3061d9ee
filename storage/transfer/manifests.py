"""A bundle's manifest, as this room needs it: which files, and where the store has their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ..stores.digests import Digests
from ..versions import DEEPEST, VERSION_ID, BadVersion, nests_deeper
from .layout import FORMAT, LARGEST_PACK, bundle_id, bundle_kind, bundle_model
from .sealed import seal

_OF_THE_STORE = ("packs", "blake3")
# What wrong types and numbers (Infinity) in a foreign JSON raise where it is read.
_WRONG = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_MOST_TOLD = 16 * 1024 * 1024
_MOST_CONTAINERS = 2_000_000
"""Lists and objects: some three times what so many files have as fit into MANIFEST_LIMIT. As many
as 64 MB can hold would be gigabytes of memory."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class File(NamedTuple):
    """One file of a bundle: its path below files/, its size in bytes."""

    path: str
    size: int
    sha256: str
    blake3: str | None = None

    @property
    def digests(self) -> Digests:
        return Digests(self.sha256, self.blake3)


class PlacedPack(NamedTuple):
    """A pack in the store. `places` gives (offset, size) for a file's digest."""

    sha256: str
    size: int
    places: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class BundleManifest:
    """`data` is all that the JSON says, with members that this release does not know."""

    id: str
    data: Mapping[str, Any]
    files: Sequence[File]
    packs: Sequence[PlacedPack] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def has_contents_of(self, other: BundleManifest) -> bool:
        """True if its files are the other's; a BLAKE3 may be known to one of them alone."""
        return sorted(file[:3] for file in self.files) == sorted(file[:3] for file in other.files)

    def local(self) -> bytes:
        """The manifest.json of the bundle's folder."""
        return _dump({key: value for key, value in self.data.items() if key not in _OF_THE_STORE})

    def told(self, where: str) -> bytes:
        """What servers list of it: all but where its bytes lie, and but its lineage, which they
        read where they have its files. Raises BadVersion for what no list should hold."""
        plain = {k: v for k, v in self.data.items() if k not in (*_OF_THE_STORE, "lineage")}
        size = len(_dump({key: value for key, value in plain.items() if key != "files"}))
        if size > _MOST_TOLD:
            raise BadVersion(f"{where}: has {size} bytes beside its files; {_MOST_TOLD} are taken")
        return _dump(plain)

    def stored(self, packs: Sequence[PlacedPack], blake3: Mapping[str, str]) -> bytes:
        """The store's manifest, sealed: it also tells in which packs the small files are.

        `blake3` has those that became known when the files were read, by SHA-256.
        """
        placed = [{"sha256": p.sha256, "size": p.size, "files": dict(p.places)} for p in packs]
        known = {**(self.data.get("blake3") or {}), **blake3}
        return seal(_dump({**self.data, "packs": placed, "blake3": dict(sorted(known.items()))}))


def read_bundle(text: bytes, where: str) -> BundleManifest:
    """Raises BadVersion: `where` is named in its message."""
    try:
        if text.count(b"[") + text.count(b"{") > _MOST_CONTAINERS:
            raise ValueError("holds too many lists and objects")
        data = json.loads(text)
        if int(data.get("format", 1)) > FORMAT:
            raise BadVersion(f"{where}: written by a newer release of Modelyard")
        blake3 = dict(data.get("blake3") or {})
        files = [_file(item, blake3) for item in data["files"]]
        packs = [_pack(item) for item in data.get("packs") or ()]
        identity = str(data["id"])
        if nests_deeper(data, DEEPEST):
            raise ValueError(f"nests deeper than {DEEPEST} levels")
    except _WRONG as error:
        raise BadVersion(f"{where}: {type(error).__name__}: {error}") from error
    if not VERSION_ID.match(identity):
        raise BadVersion(f"{where}: {identity!r} is no version id (32 hex digits)")
    _check_files(files, where)
    _check_packs(packs, where)
    return BundleManifest(identity, data, files, packs)


def check_belongs(manifest: BundleManifest, key: str, where: str) -> None:
    """Raises BadVersion if the manifest is that of another bundle than `key` names."""
    kind = manifest.data.get("kind") or "weights"
    if manifest.id != bundle_id(key) or kind != bundle_kind(key):
        raise BadVersion(f"{where}: is the manifest of {kind} {manifest.id}, not of {key}")
    model = bundle_model(key)
    if model is not None and manifest.data.get("model") != model:
        raise BadVersion(f"{where}: is of the model {manifest.data.get('model')!r}, not {model!r}")


def _dump(data: Mapping[str, Any]) -> bytes:
    # The standard library's: a metric may be NaN or a big integer, a path may be no UTF-8.
    return json.dumps(data, separators=(",", ":")).encode()


def _file(item: Mapping[str, Any], known: Mapping[str, Any]) -> File:
    sha256 = str(item["sha256"])
    blake3 = item.get("blake3") or known.get(sha256)
    return File(str(item["path"]), int(item["size"]), sha256, blake3 and str(blake3))


def _pack(item: Mapping[str, Any]) -> PlacedPack:
    places = {str(digest): (int(at), int(size)) for digest, (at, size) in item["files"].items()}
    return PlacedPack(str(item["sha256"]), int(item["size"]), places)


def _check_files(files: Sequence[File], where: str) -> None:
    sizes: dict[str, int] = {}
    paths: set[str] = set()
    for path, size, digest, blake3 in files:
        # It comes from elsewhere: it must not name a file outside its folder.
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise BadVersion(f"{where}: {path[:200]!r} is no path inside a bundle")
        if path in paths:
            raise BadVersion(f"{where}: names {path[:200]!r} twice")
        if size < 0 or not _DIGEST.match(digest):
            raise BadVersion(f"{where}: {path[:200]!r} has no size or no SHA-256")
        if blake3 is not None and not _DIGEST.match(blake3):
            raise BadVersion(f"{where}: {path[:200]!r} has a BLAKE3 that is none")
        if sizes.setdefault(digest, size) != size:
            raise BadVersion(f"{where}: files of one SHA-256 have two sizes ({path[:200]!r})")
        paths.add(path)
    # In this order what lies in a folder follows it at once. (A set of all folders on the way would
    # be gigabytes for one path of a hundred thousand.)
    for above, path in pairwise(sorted(path.replace("/", "\0") for path in paths)):
        if path.startswith(f"{above}\0"):
            told = above.replace("\0", "/")[:200]
            raise BadVersion(f"{where}: {told!r} is a file and a folder")


def _check_packs(packs: Sequence[PlacedPack], where: str) -> None:
    for pack in packs:
        if not 0 <= pack.size <= LARGEST_PACK:
            raise BadVersion(f"{where}: a pack of {pack.size} bytes")
        if not _DIGEST.match(pack.sha256):
            raise BadVersion(f"{where}: a pack has no SHA-256")
        for at, size in pack.places.values():
            if at < 0 or size < 0 or at + size > pack.size:
                raise BadVersion(f"{where}: a file lies outside its pack {pack.sha256}")
