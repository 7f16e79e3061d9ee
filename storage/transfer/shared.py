"""Single objects: an archive behind a presigned address, an object that somebody else put there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from ...errors import Conflict, InvalidArguments, NotFound, ObjectMissing, StoreRefused, TooLarge
from ..stores.base import ObjectStore
from ..stores.digests import Digests
from ..stores.opening import open_store
from ..versions import sync_folder
from .layout import TOUCH_AFTER
from .local import digest_of
from .work import Meter, StoreClock, Workers

LONGEST_S = 7 * 24 * 3600
"""What S3 signs an address for at most (signature version 4)."""
_PART = 8 * 1024 * 1024


def share(
    store: ObjectStore, clock: StoreClock, path: Path, name: str, seconds: int, meter: Meter
) -> str | None:
    """As StorageOffice.share tells. The same file is uploaded once."""
    if not 1 <= seconds <= LONGEST_S:
        raise InvalidArguments({"expires_s": [f"Must be from 1 to {LONGEST_S} (7 days)."]})
    digest = digest_of(path)
    key = f"shared/{digest[:32]}/{digest}{_suffix(name)}"
    if store.presign(key, seconds, name) is None:
        return None
    size = path.stat().st_size
    meter.begin(size)
    info = store.stat(key)
    if info is None or info.size != size:
        store.put_file(key, path, size, Digests(digest), meter.add)
    elif clock.age(info.modified) > TOUCH_AFTER:
        with suppress(ObjectMissing):
            store.touch(key)
    return store.presign(key, seconds, name)


def fetch_object(
    address: str,
    target: Path,
    limit: int,
    environ: Mapping[str, str],
    workers: Workers,
    meter: Meter,
) -> None:
    """As StorageOffice.fetch_object tells."""
    # Its folder as a store of its own, with our credentials: the object may be in another bucket.
    folder, key = _split(address)
    store = open_store(folder, environ, foreign=True)
    try:
        _fetch(store, key, address, target, limit, workers, meter)
    except ObjectMissing:
        raise NotFound(f"There is no object at {address}.") from None
    finally:
        store.close()


def _fetch(
    store: ObjectStore,
    key: str,
    address: str,
    target: Path,
    limit: int,
    workers: Workers,
    meter: Meter,
) -> None:
    info = store.stat(key)
    if info is None:
        raise ObjectMissing(key)
    if info.size > limit:
        raise TooLarge(f"{address}: has {info.size} bytes; at most {limit} are allowed.")
    meter.begin(info.size)
    new = target.with_name(f".{target.name[:100]}.{uuid4().hex[:8]}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o600)
    try:
        try:
            workers.each(_part_into(store, key, descriptor, info.size, meter), _starts(info.size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if store.stat(key) != info:
            raise Conflict(f"{address}: was changed while it was fetched.")
        new.rename(target)
        sync_folder(target.parent)
    finally:
        new.unlink(missing_ok=True)


def _part_into(
    store: ObjectStore, key: str, descriptor: int, size: int, meter: Meter
) -> Callable[[int], None]:
    def fetch(start: int) -> None:
        meter.check()
        data = store.get_range(key, start, min(_PART, size - start))
        view = memoryview(data)
        done = 0
        while done < len(data):
            done += os.pwrite(descriptor, view[done:], start + done)
        meter.add(len(data))

    return fetch


def _starts(size: int) -> range:
    return range(0, size, _PART)


def _split(address: str) -> tuple[str, str]:
    """The folder's URL and the object's key in it. Raises StoreRefused."""
    if address.startswith("/"):
        path = PurePosixPath(address)
        return str(path.parent), path.name
    parts = urlsplit(address)
    if parts.scheme == "file":
        path = PurePosixPath(unquote(parts.path))
        return str(path.parent), path.name
    folder, _, name = address.rpartition("/")
    if parts.scheme != "s3" or not name or folder in ("s3:/", "s3:"):
        raise StoreRefused(f"{address[:100]!r} is no address of an object: s3://bucket/key")
    return folder, name


def _suffix(name: str) -> str:
    for suffix in (".tar.xz", ".tar.gz", ".zip"):
        if name.endswith(suffix):
            return suffix
    return ".bin"
