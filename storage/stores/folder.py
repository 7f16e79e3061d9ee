"""A store in a folder: of this machine, or of a file system that several share.

A file appears under its key in one step (rename, or link for `if_absent`), with its bytes on the
disk. `.new` holds what is being written; it is on the same file system because it is in the folder.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ...errors import Corrupt, ObjectMissing, StoreRefused, StoreUnavailable
from ..versions import sync_folder
from .base import (
    Capabilities,
    Counted,
    ObjectInfo,
    ObjectStore,
    Progress,
    check_key,
    check_prefix,
    is_key,
    told_when_full,
)
from .digests import Digests, Hasher

_NEW = ".new"
_CHUNK = 1024**2
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
# What a file system says when its server is away; it may be there again later.
_AWAY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH}
_AWAY |= {errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
# A link in a circle, a name that no file can have.
_NO_OBJECT = {errno.ELOOP, errno.ENAMETOOLONG}


class FolderStore(ObjectStore):
    """Keys are paths below `root`, which `open` makes if its parent is there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()
        self._capabilities = Capabilities()

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def open(self) -> None:
        with self._failures():
            # Not its parents: a file system that is not mounted must not become a local folder.
            with suppress(FileExistsError):
                self.root.mkdir()
            if not self.root.is_dir():
                raise StoreRefused(f"{self.root}: is no folder")
            try:
                (self.root / _NEW).mkdir(exist_ok=True)
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                return  # one that may only be read
            self._capabilities = Capabilities(conditional=self._can_link())

    def close(self) -> None:
        """Nothing is held open."""

    def put_bytes(self, key: str, data: bytes, if_absent: bool = False) -> bool:
        with self._failures(key):
            target = self._path(key)
            if if_absent and target.exists():
                return False
            with self._new_file() as (new, stream):
                stream.write(data)
                _finish(stream)
                return self._appear(new, target, if_absent)

    def put_file(
        self,
        key: str,
        path: Path,
        size: int,
        digests: Digests,
        progress: Progress | None = None,
        resume: Path | None = None,
    ) -> Digests:
        target = self._path(key)
        # Copied, not linked: a model that writes into its own files must not reach the store.
        with self._failures(key):
            new = self._new_path()
        try:
            with path.open("rb") as source, self._failures(key), new.open("xb") as stream:
                found = _copy(source, stream, size, Hasher(digests, complete=True), progress)
                _finish(stream)
            with self._failures(key):
                self._appear(new, target, False)
            return found
        finally:
            new.unlink(missing_ok=True)

    def get_bytes(self, key: str, limit: int) -> bytes:
        with self._failures(key), self._open(key) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise Corrupt(f"{key}: has more than {limit} bytes")
        return data

    def get_file(
        self, key: str, target: Path, size: int, digests: Digests, progress: Progress | None = None
    ) -> None:
        # Copied, not linked: a reader that writes into its files must not reach the store.
        with self._failures(key):
            source = self._open(key)
        new = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.new")
        try:
            with source, told_when_full(target), new.open("xb") as stream:
                _copy(source, stream, size, Hasher(digests), progress)
                _finish(stream)
            new.rename(target)
            sync_folder(target.parent)
        finally:
            new.unlink(missing_ok=True)

    def verify(
        self, key: str, size: int, digests: Digests, progress: Progress | None = None
    ) -> bool:
        hasher, counted = Hasher(digests), Counted(progress)
        try:
            with self._failures(key), self._open(key) as source:
                count = os.fstat(source.fileno()).st_size
                while count == size and (chunk := source.read(_CHUNK)):
                    hasher.update(chunk)
                    counted.add(len(chunk))
        except ObjectMissing:
            return False
        agrees = count == size and hasher.agrees
        if not agrees:
            counted.undo()
        return agrees

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self._failures(key), self._open(key) as stream:
            stream.seek(offset)
            data = stream.read(length)
        if len(data) != length:
            raise Corrupt(f"{key}: ends before byte {offset + length}")
        return data

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            with self._failures(key):
                return self._info(key, self._status(key))
        except ObjectMissing:
            return None

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._failures():
            if not self.root.is_dir():
                raise StoreUnavailable(f"{self.root}: the storage folder is not there")
            yield from self._walk("", prefix, after or "")

    def delete(self, key: str) -> None:
        # Folders that become empty stay: another server may be about to write into one.
        with self._failures(key), suppress(FileNotFoundError, NotADirectoryError):
            path = self._path(key)
            path.unlink()
            sync_folder(path.parent)

    def touch(self, key: str) -> None:
        with self._failures(key):
            self._status(key)
            os.utime(self._path(key))

    def presign(self, key: str, seconds: int, filename: str) -> str | None:
        check_key(key)
        return None

    def abort_stale(self, older_than_s: float) -> int:
        count = 0
        with self._failures():
            for path in (self.root / _NEW).glob("*"):
                with suppress(FileNotFoundError):
                    if path.lstat().st_ctime < time.time() - older_than_s:
                        path.unlink()
                        count += 1
        return count

    # -- paths ----------------------------------------------------------------

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _status(self, key: str) -> os.stat_result:
        return _check_file(self._path(key).stat(), key)

    def _open(self, key: str) -> BinaryIO:
        """For reading. Of a pipe in the place of an object nobody waits for a writer."""
        stream = open(self._path(key), "rb", opener=_at_once)  # noqa: SIM115
        try:
            _check_file(os.fstat(stream.fileno()), key)
        except BaseException:
            stream.close()
            raise
        return stream

    def _info(self, key: str, status: os.stat_result) -> ObjectInfo:
        return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _walk(
        self, folder: str, prefix: str, after: str, above: tuple[tuple[int, int], ...] = ()
    ) -> Iterator[ObjectInfo]:
        """The objects below `folder` (empty, or with a slash at its end) in the order of keys.

        `above` are the folders on the way: one that a link leads back to is not walked again.
        """
        try:
            status = (self.root / folder).stat()
            if (status.st_dev, status.st_ino) in above:
                return
            above = (*above, (status.st_dev, status.st_ino))
            with os.scandir(self.root / folder) as entries:
                found = [(name, e) for e in entries if (name := _shown(e)) is not None]
        except (FileNotFoundError, NotADirectoryError):
            return  # it went meanwhile
        for name, entry in sorted(found, key=lambda item: item[0]):
            key = folder + name
            if not is_key(key.removesuffix("/")):
                continue
            if name.endswith("/"):
                inside = key.startswith(prefix) or prefix.startswith(key)
                if inside and (after < key or after.startswith(key)):
                    yield from self._walk(key, prefix, after, above)
            elif key.startswith(prefix) and key > after:
                with suppress(FileNotFoundError):
                    yield self._info(key, _check_file(entry.stat(), key))

    # -- writing --------------------------------------------------------------

    def _new_path(self) -> Path:
        (self.root / _NEW).mkdir(exist_ok=True)
        return self.root / _NEW / uuid.uuid4().hex

    @contextmanager
    def _new_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        new = self._new_path()
        try:
            with new.open("xb") as stream:
                yield new, stream
        finally:
            new.unlink(missing_ok=True)

    def _appear(self, new: Path, target: Path, if_absent: bool) -> bool:
        """Gives `new` its name. False: `if_absent`, and the name was taken."""
        if not target.parent.is_dir():
            self._make_folder(target.parent)
        if if_absent and self._capabilities.conditional:
            try:
                os.link(new, target)
            except FileExistsError:
                return False
        elif if_absent and target.exists():
            return False
        else:
            new.rename(target)
        sync_folder(target.parent)
        return True

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while folder != self.root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            sync_folder(path.parent)

    def _can_link(self) -> bool:
        with self._new_file() as (new, _):
            other = new.with_name(new.name + "-link")
            try:
                os.link(new, other)
            except OSError:
                return False
            other.unlink()
            return True

    @contextmanager
    def _failures(self, key: str = "") -> Iterator[None]:
        """The folder's failures by what can be done."""
        try:
            with told_when_full(self.root):
                yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if not self.root.is_dir():
                raise StoreUnavailable(
                    f"{self.root}: the storage folder is not there (is its file system mounted?)"
                ) from error
            if not key:
                raise StoreUnavailable(f"{self.root}: {error.strerror}") from error
            raise ObjectMissing(f"the store has no {key}") from error
        except OSError as error:
            if key and error.errno in _NO_OBJECT:
                raise ObjectMissing(f"the store has no {key}") from error
            if error.errno in _REFUSED:
                raise StoreRefused(
                    f"{self.root}: {error.strerror}: the server's user needs the right to read and "
                    "write there"
                ) from error
            if error.errno in _AWAY:
                raise StoreUnavailable(f"{self.root}: {error.strerror}") from error
            raise


def _shown(entry: os.DirEntry[str]) -> str | None:
    """Its name, of a folder with a slash at the end; None for a link in a circle."""
    try:
        return entry.name + "/" if entry.is_dir() else entry.name
    except OSError as error:
        if error.errno in _NO_OBJECT:
            return None
        raise


def _check_file(status: os.stat_result, key: str) -> os.stat_result:
    """Raises FileNotFoundError for a folder, a pipe, a socket, a device."""
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "no object", key)
    return status


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _copy(
    source: BinaryIO, stream: BinaryIO, size: int, hasher: Hasher, progress: Progress | None
) -> Digests:
    """Copies `source` to its end into `stream` and compares. Raises Corrupt."""
    count = 0
    while chunk := source.read(_CHUNK):
        hasher.update(chunk)
        count += len(chunk)
        if count > size:
            break
        stream.write(chunk)
        if progress is not None:
            progress(len(chunk))
    if count != size or not hasher.agrees:
        if progress is not None:
            progress(-min(count, size))
        raise Corrupt(f"{Path(source.name).name}: its bytes are not those of its digest")
    return hasher.digests


def _finish(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
