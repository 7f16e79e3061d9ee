"""Fetching a bundle: verified file by file in a folder beside its place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ...clearing import remove_tree
from ...errors import Corrupt, DiskFull, NotFound, ObjectMissing
from ..stores.base import ObjectStore
from ..versions import BadVersion, sync_folder
from .layout import (
    MANIFEST_LIMIT,
    SMALL,
    blob_key,
    bundle_id,
    manifest_key,
    pack_key,
    tombstone_key,
)
from .local import is_as, make_durable, read_json, seen, write_json
from .manifests import BundleManifest, File, PlacedPack, check_belongs, read_bundle
from .objects import StoredObject, objects_of
from .packs import cut_pack, write_new
from .sealed import read_sealed
from .work import KeyedLocks, Meter, Workers

_TRIES = 3
_SPARE = 16 * 1024 * 1024
"""Bytes that are left free on the disk, for the records."""


class Fetcher:
    """Bundles from the store. `state` is a folder of the home for what may be forgotten."""

    def __init__(self, store: ObjectStore, state: Path, workers: Workers) -> None:
        self._store, self._state, self._workers = store, state, workers
        self._locks = KeyedLocks()

    def fetch(self, key: str, root: Path, meter: Meter) -> Path:
        """As StorageOffice.fetch tells."""
        with self._locks.on(f"{root}/{key}"):
            target = root / bundle_id(key)
            if self._is_as_it_was(key, target):
                return target
            manifest, size = read_stored(self._store, key)
            if is_whole(target, manifest):
                self._remember(manifest, size, target)
                return target
            new = root / f".new-{manifest.id}"
            files = new / "files"
            files.mkdir(mode=0o700, parents=True, exist_ok=True)
            meter.begin(manifest.size)
            wanted = self._still_wanted(files, manifest, meter)
            _check_space(root, sum(file.size for file in wanted))
            for folder in sorted({(files / file.path).parent for file in wanted}):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fetch_contents(files, manifest, wanted, meter)
            _put_in_place(new, target, manifest, wanted)
            self._remember(manifest, size, target)
            return target

    def is_there(self, key: str) -> bool:
        """As StorageOffice.has tells."""
        try:
            manifest, _ = read_stored(self._store, key)
        except (NotFound, Corrupt, BadVersion):
            return False

        def look(item: StoredObject) -> bool:
            info = self._store.stat(item.key)
            return info is not None and info.size == item.size

        return all(self._workers.map(look, objects_of(manifest.files, manifest.packs)))

    def _memory(self, target: Path) -> Path:
        name = hashlib.sha256(os.fsencode(target)).hexdigest()[:32]
        return self._state / "fetched" / f"{name}.json"

    def _remember(self, manifest: BundleManifest, size: int, target: Path) -> None:
        folders = {""}
        for file in manifest.files:
            while (above := file.path.rpartition("/")[0]) and above not in folders:
                folders.add(above)
                file = file._replace(path=above)
        with suppress(OSError):
            found = [[folder, _times(target, folder)] for folder in sorted(folders)]
            known = {"size": size, "manifest": seen(target / "manifest.json"), "folders": found}
            write_json(self._memory(target), known)

    def _is_as_it_was(self, key: str, target: Path) -> bool:
        """True if it was whole, no file came or went since, and it is published: two requests.

        Whether a file was changed in place is not looked for: nothing of ours does that.
        """
        known = read_json(self._memory(target))
        try:
            if (
                not isinstance(known, dict)
                or known["manifest"] != seen(target / "manifest.json")
                or any(_times(target, folder) != times for folder, times in known["folders"])
            ):
                return False
        except OSError:
            return False
        keys = (manifest_key(key), tombstone_key(key))
        found = {info.key: info.size for info in self._workers.map(self._store.stat, keys) if info}
        return found == {keys[0]: known["size"]}

    def _still_wanted(self, files: Path, manifest: BundleManifest, meter: Meter) -> list[File]:
        """What an earlier attempt has not brought. Removes what it left and is not whole."""
        expected = {file.path: file for file in manifest.files}
        kept: set[str] = set()

        def look(path: Path) -> None:
            file = expected.get(str(path.relative_to(files)))
            meter.check()
            if file is not None and not path.is_symlink() and is_as(path, file.size, file.digests):
                kept.add(file.path)
                meter.add(file.size)
                return
            path.unlink()

        left = []
        for base, _, names in os.walk(files):
            # What was let go of when it was killed: a model had loaded it, so it is read only.
            os.chmod(base, 0o700)  # noqa: PTH101
            left += [Path(base) / name for name in names]
        self._workers.each(look, left)
        return [file for file in manifest.files if file.path not in kept]

    def _fetch_contents(
        self, root: Path, manifest: BundleManifest, wanted: Iterable[File], meter: Meter
    ) -> None:
        packed: dict[str, PlacedPack] = {d: p for p in manifest.packs for d in p.places}
        by_pack: dict[str, list[File]] = {}
        by_blob: dict[str, list[File]] = {}
        for file in wanted:
            if not file.size:
                write_new(os.fspath(root / file.path), memoryview(b""))
            elif file.sha256 in packed:
                by_pack.setdefault(packed[file.sha256].sha256, []).append(file)
            else:
                by_blob.setdefault(file.sha256, []).append(file)
        packs = {pack.sha256: pack for pack in manifest.packs}
        work: list[Callable[[], None]] = []
        for digest, files in by_pack.items():
            work.append(lambda p=packs[digest], f=files: self._fetch_pack(p, f, root, meter))  # type: ignore[misc]
        for files in by_blob.values():
            work.append(lambda f=files: self._fetch_blob(f, root, meter))  # type: ignore[misc]
        self._workers.each(lambda call: call(), work)

    def _fetch_blob(self, files: list[File], root: Path, meter: Meter) -> None:
        """One blob, for each path that has its content."""
        meter.check()
        first, *others = files
        target = root / first.path
        try:
            self._store.get_file(
                blob_key(first.sha256), target, first.size, first.digests, meter.add
            )
        except ObjectMissing as error:
            raise _lost(first, error) from error
        for file in others:
            shutil.copyfile(target, root / file.path)
            meter.add(file.size)

    def _fetch_pack(self, pack: PlacedPack, files: list[File], root: Path, meter: Meter) -> None:
        base = os.fspath(root) + "/"
        wanted = files
        with self._workers.packs:
            for _ in range(_TRIES):
                meter.check()
                try:
                    data = self._store.get_bytes(pack_key(pack.sha256), pack.size)
                except ObjectMissing as error:
                    raise _lost(files[0], error) from error
                wrong = []
                if len(data) != pack.size:
                    continue
                for file, part in cut_pack(pack, data, wanted):
                    if hashlib.sha256(part).hexdigest() == file.sha256:
                        write_new(base + file.path, part)
                        meter.add(file.size)
                    else:
                        wrong.append(file)
                if not wrong:
                    return
                wanted = wrong  # the bytes of the others were right: a bit was flipped on its way
        raise Corrupt(
            f"The store's {pack_key(pack.sha256)} is damaged: {wanted[0].path} has not the SHA-256 "
            "that its manifest says."
        )


def read_stored(store: ObjectStore, key: str) -> tuple[BundleManifest, int]:
    """The published manifest, and the bytes of its object.

    Raises NotFound (with the detail `deleted`: it is known whether somebody did that), Corrupt, and
    BadVersion for what a newer release wrote.
    """
    place = manifest_key(key)
    try:
        read = read_sealed(store, place, MANIFEST_LIMIT)
    except ObjectMissing:
        deleted = store.stat(tombstone_key(key)) is not None
        told = f"{key} was deleted from the store." if deleted else f"The store has no {key}."
        raise NotFound(told, deleted=deleted) from None
    if store.stat(tombstone_key(key)) is not None:
        raise NotFound(f"{key} was deleted from the store.", deleted=True)
    try:
        manifest = read_bundle(read.text, place)
        check_belongs(manifest, key, place)
    except BadVersion as error:
        if read.sealed:
            raise
        raise Corrupt(f"The store's {error.message}") from error
    return manifest, read.size


def is_whole(folder: Path, manifest: BundleManifest) -> bool:
    """True if the folder is this bundle and every file has its size."""
    with suppress(OSError, BadVersion):
        text = (folder / "manifest.json").read_bytes()
        if text != manifest.local():
            local = read_bundle(text, str(folder))
            if not local.has_contents_of(manifest):
                return False
        files = folder / "files"
        return all((files / file.path).stat().st_size == file.size for file in manifest.files)
    return False


def _times(target: Path, folder: str) -> list[int]:
    """What changes when a name comes into a folder below files/, or goes. Raises OSError."""
    status = (target / "files" / folder).stat()
    return [status.st_mtime_ns, status.st_ino]


def _put_in_place(
    new: Path, target: Path, manifest: BundleManifest, fetched: Iterable[File]
) -> None:
    (new / "manifest.json").write_bytes(manifest.local())
    # The store's part makes large files durable by itself.
    small = [new / "files" / file.path for file in fetched if file.size < SMALL]
    make_durable([*small, new / "manifest.json"], new)
    if target.exists():  # damaged: what an operator's hand left there
        remove_tree(target)
    new.rename(target)
    sync_folder(target.parent)


def _check_space(root: Path, size: int) -> None:
    free = shutil.disk_usage(root).free
    if free < size + _SPARE:
        raise DiskFull(
            f"{root}: {size // 10**6} MB are to be fetched and {free // 10**6} MB are free.",
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


def _lost(file: File, error: ObjectMissing) -> Corrupt:
    return Corrupt(f"The store lacks the bytes of {file.path}, which was published: {error}")
