"""Packs: which small files share an object; made and cut. Knows files, not stores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..versions import BadVersion
from .layout import LARGEST_PACK, PACK, SMALL
from .manifests import File, PlacedPack


class PackPlan(NamedTuple):
    """The files of a pack, in their order in it; each digest once."""

    files: Sequence[File]
    size: int

    @property
    def name(self) -> str:
        """What the pack's bytes follow from: a plan of this name always makes the same pack."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.sha256} {file.size}\n".encode())
        return digest.hexdigest()

    def placed(self, sha256: str) -> PlacedPack:
        places, at = {}, 0
        for file in self.files:
            places[file.sha256] = (at, file.size)
            at += file.size
        return PlacedPack(sha256, self.size, places)


def plan_packs(files: Iterable[File]) -> list[PackPlan]:
    """Packs for the small ones of `files`.

    A file's digest decides its pack: one file that changes changes one or two packs of a version,
    and the others are in the store already. Empty files need no pack.
    """
    small = {file.sha256: file for file in files if 0 < file.size < SMALL}
    total = sum(file.size for file in small.values())
    bits = 0
    while total >> bits > PACK:
        bits += 1
    buckets: dict[int, list[File]] = {}
    for digest in sorted(small):
        buckets.setdefault(int(digest[:8], 16) >> (32 - bits), []).append(small[digest])
    return [
        PackPlan(tuple(part), sum(file.size for file in part))
        for bucket in buckets.values()
        for part in _in_parts(bucket)
    ]


def _in_parts(bucket: list[File]) -> Iterator[list[File]]:
    """As it is, but for files whose digests somebody has made alike: no pack is too large."""
    part: list[File] = []
    size = 0
    for file in bucket:
        if size + file.size > LARGEST_PACK:
            yield part
            part, size = [], 0
        part.append(file)
        size += file.size
    yield part


def make_pack(plan: PackPlan, root: Path) -> bytearray:
    """The pack's bytes, read from below `root`; every file is checked against its digest.

    Raises BadVersion for a file that is missing or not what it should be, and OSError.
    """
    data = bytearray(plan.size)
    view, at = memoryview(data), 0
    base = os.fspath(root) + "/"
    for file in plan.files:
        part = view[at : at + file.size]
        read_whole(base + file.path, part)
        if hashlib.sha256(part).hexdigest() != file.sha256:
            raise BadVersion(f"{base}{file.path}: its bytes are not those of its SHA-256")
        at += file.size
    return data


def read_whole(path: str, into: memoryview) -> None:
    """Fills `into` from a file of exactly that size. Raises BadVersion, and OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise BadVersion(f"{path}: is missing") from None
    try:
        done = 0
        while done < len(into):
            count = os.readv(descriptor, [into[done:]])
            if count == 0:
                break
            done += count
        if done != len(into) or os.read(descriptor, 1):
            raise BadVersion(f"{path}: has not the size that its manifest says")
    finally:
        os.close(descriptor)


def cut_pack(
    pack: PlacedPack, data: bytes | bytearray | memoryview, wanted: Iterable[File]
) -> Iterator[tuple[File, memoryview]]:
    """Each wanted file with its bytes. Raises BadVersion for one that the pack has not."""
    view = memoryview(data)
    for file in wanted:
        at, size = pack.places.get(file.sha256, (-1, -1))
        if size != file.size:
            raise BadVersion(f"The pack {pack.sha256} has no {file.path!r}.")
        yield file, view[at : at + size]


def write_new(path: str, data: memoryview) -> None:
    """Writes a file that was not there; its folder is. Not yet durable."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.write(descriptor, data[done:])
    finally:
        os.close(descriptor)
