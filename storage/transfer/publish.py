"""Publishing a bundle: what the store lacks of its bytes, then the manifest, then a look at all."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

from ...errors import Conflict, Corrupt, ObjectMissing, StoreUnavailable
from ..stores.base import ObjectStore
from ..stores.digests import Digests
from ..versions import BadVersion
from .layout import (
    MANIFEST_LIMIT,
    SMALL,
    TOUCH_AFTER,
    blob_key,
    manifest_key,
    pack_key,
    tombstone_key,
)
from .local import digest_of, is_as, read_json, seen, write_json
from .manifests import BundleManifest, File, PlacedPack, check_belongs, read_bundle
from .objects import StoredObject, objects_of
from .packs import PackPlan, make_pack, plan_packs
from .sealed import Read, read_sealed, seal
from .whole import check_files
from .work import KeyedLocks, Meter, StoreClock, Workers

log = logging.getLogger(__name__)

_ROUNDS = 3
_LOOK_AGAIN_S = 3600.0
"""What was seen to be there is not looked for again so soon; `mend` looks whenever it is asked."""


@dataclass
class _Contents:
    """What became of a bundle's files. `blake3` by SHA-256; `put`: the keys that were lacking.

    `mend`: only what was read again counts as being there.
    """

    mend: bool = False
    packs: list[PlacedPack] = field(default_factory=list)
    blake3: dict[str, str] = field(default_factory=dict)
    put: set[str] = field(default_factory=set)


class _Local(NamedTuple):
    """A bundle's folder, and its manifest as it was when it was read."""

    folder: Path
    seen: list[int]
    text: bytes


class _Stored(NamedTuple):
    """The store's manifest. `trusted`: its seal says that it is what was written."""

    manifest: BundleManifest
    read: Read

    @property
    def trusted(self) -> bool:
        return self.read.sealed

    def is_as(self, text: bytes) -> bool:
        """True if just this is in the store."""
        return self.trusted and seal(self.read.text) == text


class Publisher:
    """Bundles to the store.

    `state` is a folder of the home for what may be forgotten: how far large uploads came, which
    packs came of which files, and what was published with which objects.
    """

    def __init__(
        self, store: ObjectStore, state: Path, workers: Workers, clock: StoreClock
    ) -> None:
        self._store, self._state, self._workers, self._clock = store, state, workers, clock
        self._locks = KeyedLocks()

    def publish(
        self, key: str, folder: Path, meter: Meter, undelete: bool = False, mend: bool = False
    ) -> None:
        """As StorageOffice.publish tells."""
        with self._locks.on(key):
            path = folder / "manifest.json"
            try:
                if not mend and self._is_published(key, path):
                    return
                local = _Local(folder, seen(path), path.read_bytes())
            except FileNotFoundError:
                raise BadVersion(f"{folder}: has no manifest.json") from None
            deleted = self._check_deleted(key, undelete)
            manifest = read_bundle(local.text, str(path))
            check_belongs(manifest, key, str(path))
            stored = None if deleted else self._stored(key, manifest)
            if mend or stored is None or not self._is_there(key, local, stored):
                self._publish(key, local, manifest, stored, meter, undelete, mend)

    def _check_deleted(self, key: str, undelete: bool) -> bool:
        """True if there is a tombstone. Raises Conflict if that forbids to publish."""
        if self._store.stat(tombstone_key(key)) is None:
            return False
        if not undelete:
            raise Conflict(f"{key} was deleted from the store.", deleted=True)
        return True

    def delete(self, key: str, server: str) -> None:
        """Tombstone first: whoever sees the manifest gone also sees why."""
        with self._locks.on(key):
            now = datetime.now(UTC).isoformat()
            self._store.put_bytes(
                tombstone_key(key), f'{{"server": "{server}", "deleted_at": "{now}"}}'.encode()
            )
            self._store.delete(manifest_key(key))
            self._memory(key).unlink(missing_ok=True)

    def _publish(
        self,
        key: str,
        local: _Local,
        manifest: BundleManifest,
        stored: _Stored | None,
        meter: Meter,
        undelete: bool,
        mend: bool,
    ) -> None:
        root = local.folder / "files"
        total = sum({file.sha256: file.size for file in manifest.files}.values())
        # What is sealed in the store is more to be trusted than the file here, which has no seal.
        source = stored.manifest if stored is not None and stored.trusted else manifest
        for _ in range(_ROUNDS):
            begun = time.monotonic()
            contents = _Contents(mend)
            meter.begin(2 * total if mend else total)
            if mend:  # all of it, before anything is put
                known = check_files(root, manifest, self._workers, meter)
                contents.blake3 = {f.sha256: known[f.sha256] for f in _large(manifest)}
            self._put_contents(root, manifest, contents, meter)
            text = source.stored(contents.packs, contents.blake3)
            if len(text) > MANIFEST_LIMIT:
                raise BadVersion(f"{root}: has too many files for one manifest")
            meter.check()
            # Once more: while much was sent, somebody may have deleted what all know of.
            if self._check_deleted(key, undelete):
                self._store.delete(tombstone_key(key))
            if stored is None or not stored.is_as(text):
                self._store.put_bytes(manifest_key(key), text)
            # A repair elsewhere may have collected what we found there, before it could see
            # that our manifest needs it. What was put just now it lets alone.
            objects = objects_of(manifest.files, contents.packs)
            fresh = contents.put if time.monotonic() < begun + TOUCH_AFTER.total_seconds() else ()
            found = [item for item in objects if item.key not in fresh]
            if self._all_there([*found, StoredObject(manifest_key(key), len(text))]):
                self._remember(key, local, len(text), objects)
                if mend and contents.put:
                    log.warning("%s: put again: %s", key, ", ".join(sorted(contents.put)))
                return
            stored = None
        raise StoreUnavailable(f"The store loses objects of {key}: they were put and are gone.")

    def _put_contents(
        self, root: Path, manifest: BundleManifest, contents: _Contents, meter: Meter
    ) -> None:
        large = {file.sha256: file for file in _large(manifest)}

        def put_pack(plan: PackPlan) -> None:
            contents.packs.append(self._put_pack(plan, root, contents, meter))

        def put_blob(file: File) -> None:
            self._put_blob(file, root / file.path, contents, meter)

        work: list[Callable[[], None]] = [
            *(lambda plan=plan: put_pack(plan) for plan in plan_packs(manifest.files)),
            *(lambda file=file: put_blob(file) for file in large.values()),
        ]
        _check_sizes(root, large.values())
        self._workers.each(lambda call: call(), work)
        contents.packs.sort()

    def _put_blob(self, file: File, path: Path, contents: _Contents, meter: Meter) -> None:
        key = blob_key(file.sha256)

        def put() -> None:
            resume = self._state / "uploads" / file.sha256
            resume.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                found = self._store.put_file(key, path, file.size, file.digests, meter.add, resume)
            except Corrupt as error:
                if not is_as(path, file.size, file.digests):
                    raise BadVersion(f"{path}: its bytes are not those of its digest") from error
                raise
            if found.blake3 is not None:
                contents.blake3[file.sha256] = found.blake3
            shutil.rmtree(resume, ignore_errors=True)

        # Two versions that share a file also share what is remembered of its upload.
        with self._locks.on(key):
            self._ensure(StoredObject(key, file.size), file.sha256, put, contents, meter)

    def _put_pack(
        self, plan: PackPlan, root: Path, contents: _Contents, meter: Meter
    ) -> PlacedPack:
        known = self._state / "packs" / plan.name
        digest = read_json(known)
        if (
            not contents.mend
            and isinstance(digest, str)
            and self._is_kept(StoredObject(pack_key(digest), plan.size))
        ):
            meter.add(plan.size)
            return plan.placed(digest)
        with self._workers.packs:
            meter.check()
            data = make_pack(plan, root)
            digest = hashlib.sha256(data).hexdigest()
            place = StoredObject(pack_key(digest), plan.size)

            def put() -> None:
                # A bytearray is as good as bytes here; a copy would double what is held in memory.
                self._store.put_bytes(place.key, cast(bytes, data))
                meter.add(plan.size)

            self._ensure(place, digest, put, contents, meter)
        write_json(known, digest)
        return plan.placed(digest)

    def _ensure(
        self,
        item: StoredObject,
        sha256: str,
        put: Callable[[], None],
        contents: _Contents,
        meter: Meter,
    ) -> None:
        meter.check()
        if contents.mend:
            right = self._store.verify(item.key, item.size, Digests(sha256), meter.add)
            if right and self._is_kept(item):
                return
        elif self._is_kept(item):
            meter.add(item.size)
            return
        put()
        contents.put.add(item.key)

    def _is_kept(self, item: StoredObject) -> bool:
        """True if the object is there, and young enough to be there for a while."""
        info = self._store.stat(item.key)
        if info is None or info.size != item.size:
            return False
        if self._clock.age(info.modified) > TOUCH_AFTER:
            try:
                self._store.touch(item.key)
            except ObjectMissing:
                return False
        return True

    def _stored(self, key: str, manifest: BundleManifest) -> _Stored | None:
        """None if it is missing or damaged: then it is written again.

        Raises Conflict if it is that of another bundle, BadVersion if a newer release wrote it.
        """
        place = manifest_key(key)
        try:
            read = read_sealed(self._store, place, MANIFEST_LIMIT)
        except (ObjectMissing, Corrupt):
            return None
        try:
            theirs = read_bundle(read.text, place)
        except BadVersion:
            if read.sealed:
                raise
            return None
        if not theirs.has_contents_of(manifest):
            raise Conflict(f"The store has another bundle as {key}.")
        return _Stored(theirs, read)

    def _is_there(self, key: str, local: _Local, stored: _Stored) -> bool:
        """True if the store has all that its manifest names."""
        objects = objects_of(stored.manifest.files, stored.manifest.packs)
        if not self._all_there(objects):
            return False
        self._remember(key, local, stored.read.size, objects)
        return True

    def _all_there(self, objects: Iterable[StoredObject]) -> bool:
        missing: list[StoredObject] = []

        def look(item: StoredObject) -> None:
            if not self._is_kept(item):
                missing.append(item)

        self._workers.each(look, objects)
        return not missing

    def _memory(self, key: str) -> Path:
        return self._state / "published" / f"{key.replace('/', '-')}.json"

    def _remember(
        self, key: str, local: _Local, size: int, objects: Sequence[StoredObject]
    ) -> None:
        digest = hashlib.sha256(local.text).hexdigest()
        known = {"seen": local.seen, "manifest": digest, "size": size, "objects": objects}
        write_json(self._memory(key), {**known, "looked_at": time.time()})

    def _is_published(self, key: str, path: Path) -> bool:
        """True if just this was published from here, and its objects were there within the hour.

        The manifest guards them from then on. Two requests; later one for each object. No file of
        the bundle is read for it, and no large JSON. Raises FileNotFoundError.
        """
        known = read_json(self._memory(key))
        if not isinstance(known, dict) or (
            known.get("seen") != seen(path) and known["manifest"] != digest_of(path)
        ):
            return False
        place, size = manifest_key(key), known["size"]

        def look(item: StoredObject) -> bool:
            if item.key in (place, tombstone_key(key)):
                info = self._store.stat(item.key)
                return (0 if info is None else info.size) == item.size
            return self._is_kept(item)

        fresh = 0 <= time.time() - known.get("looked_at", 0) < _LOOK_AGAIN_S
        objects = [] if fresh else [StoredObject(*item) for item in known["objects"]]
        manifest, tombstone = StoredObject(place, size), StoredObject(tombstone_key(key), 0)
        if not all(self._workers.map(look, [manifest, tombstone, *objects])):
            return False
        if not fresh:
            write_json(self._memory(key), {**known, "looked_at": time.time()})
        return True


def _large(manifest: BundleManifest) -> list[File]:
    """Those that are blobs, not in packs."""
    return [file for file in manifest.files if file.size >= SMALL]


def _check_sizes(root: Path, files: Iterable[File]) -> None:
    """Before gigabytes move: what is missing or was changed is told at once. Raises BadVersion."""
    for file in files:
        path = root / file.path
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            raise BadVersion(f"{path}: is missing") from None
        if size != file.size:
            raise BadVersion(f"{path}: has {size} bytes, its manifest says {file.size}")
