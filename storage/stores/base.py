"""The seam: what the service asks of a store, whichever it is.

All calls block and may come from several threads. They run in the storage process and nowhere
else. tests/storage/stores/test_contract.py holds every store to what stands here.
"""

from __future__ import annotations

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock

from ...errors import DiskFull
from .digests import Digests

FULL = {errno.ENOSPC, errno.EDQUOT}

Progress = Callable[[int], None]
"""Called with the bytes that were moved since the last call, from several threads; with a negative
number when something must be moved again."""

_LONGEST_KEY = 900  # bytes; S3 allows 1024, with the prefix
_PART = r"[^./\\\x00-\x1f\x7f\ud800-\udfff][^/\\\x00-\x1f\x7f\ud800-\udfff]*"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*\Z")


@dataclass(frozen=True)
class ObjectInfo:
    """An object that is there. `size` in bytes, `modified` aware and by the store's clock."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Capabilities:
    """What this store was seen to do when it was opened.

    conditional: `put_bytes(if_absent=True)` is atomic; else it only looks first.
    list_parts: a broken upload goes on where it stopped; else it begins anew.
    """

    conditional: bool = False
    list_parts: bool = False


@dataclass(frozen=True)
class Limits:
    """How long, how often and how much at once.

    connect_s, read_s: for one connection, and for a silence on it. budget_s: for one operation on a
    small object with all its tries; larger ones get a second more for every `slowest` bytes.
    tries: of one request. pause_s: before the second; it doubles with each. threads: transfers of
    parts at once, over all calls. part: bytes of a part; an object of more than one goes in parts.
    page: objects of one answer of a listing.
    """

    connect_s: float = 5.0
    read_s: float = 20.0
    budget_s: float = 60.0
    slowest: int = 64 * 1024
    tries: int = 6
    pause_s: float = 0.2
    threads: int = 6
    part: int = 8 * 1024**2
    page: int = 1000


class ObjectStore(ABC):
    """Objects by key.

    Keys are relative, "/" divides them, no part is empty or begins with a dot (ValueError). Every
    call may raise StoreUnavailable (it was tried for the time budget; try again later) and
    StoreRefused (credentials, bucket; the message tells the remedy and no secret).
    """

    url: str
    """Where it is; holds no secret."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What `open` saw; the least before that."""

    @abstractmethod
    def open(self) -> None:
        """Checks that the store is there and what it can do; may be called again."""

    @abstractmethod
    def close(self) -> None:
        """Ends threads and connections."""

    @abstractmethod
    def put_bytes(self, key: str, data: bytes, if_absent: bool = False) -> bool:
        """Stores `data`, whole or not at all. False: `if_absent`, and it was there."""

    @abstractmethod
    def put_file(
        self,
        key: str,
        path: Path,
        size: int,
        digests: Digests,
        progress: Progress | None = None,
        resume: Path | None = None,
    ) -> Digests:
        """Stores the file at `path`, whole or not at all; returns its digests, the BLAKE3 as well.

        `resume` is a folder that remembers how far a large upload came: after a crash the same call
        goes on there (`capabilities.list_parts`). Raises Corrupt if the file's bytes are not those
        of `size` and `digests`, OSError of the local disk, and DiskFull of the folder's disk.
        """

    @abstractmethod
    def get_bytes(self, key: str, limit: int) -> bytes:
        """A small object's bytes. Raises ObjectMissing; Corrupt if it has more than `limit`."""

    @abstractmethod
    def get_file(
        self, key: str, target: Path, size: int, digests: Digests, progress: Progress | None = None
    ) -> None:
        """Fetches to `target`: verified, durable, in one step; before that nothing is there.

        Raises ObjectMissing; Corrupt if what comes is not `size` and `digests`, after some tries;
        DiskFull, and other OSErrors of the local disk.
        """

    @abstractmethod
    def verify(
        self, key: str, size: int, digests: Digests, progress: Progress | None = None
    ) -> bool:
        """Reads all of an object; nothing is kept. False: it is missing, or not `size` and
        `digests`, also when it is read again."""

    @abstractmethod
    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; the caller verifies them.

        Raises ObjectMissing; Corrupt if the object ends before that.
        """

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo | None:
        """What is known of an object; None: there is none."""

    @abstractmethod
    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix`, in order of the keys' UTF-8 bytes.

        `after`: only keys behind that one. An object that comes or goes meanwhile may be told. What
        somebody else has put there under a name that is no key of ours is not.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes an object; nothing happens if there is none."""

    @abstractmethod
    def touch(self, key: str) -> None:
        """Makes `modified` now. Raises ObjectMissing."""

    @abstractmethod
    def presign(self, key: str, seconds: int, filename: str) -> str | None:
        """An address at which anybody may get the object under `filename` for `seconds`.

        None: this store has no such addresses.
        """

    @abstractmethod
    def abort_stale(self, older_than_s: float) -> int:
        """Ends uploads that began longer ago and were never completed; tells how many."""


def is_key(text: str) -> bool:
    """False for one that could leave the store, or be misread, or is no UTF-8."""
    return _KEY.match(text) is not None and len(text.encode()) <= _LONGEST_KEY


def check_key(key: str) -> str:
    """The key as it is. Raises ValueError if it is none."""
    if not is_key(key):
        raise ValueError(f"{key[:100]!r} is no key of an object")
    return key


def check_prefix(prefix: str) -> str:
    """The beginning of keys as it is; it may be empty or end with a slash."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


@contextmanager
def told_when_full(place: Path) -> Iterator[None]:
    """A full disk as DiskFull, naming `place`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFull(f"{place}: {error.strerror}: make room there") from error


class Counted:
    """Progress that can be taken back, when all must be moved again."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._count = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count
        if self._progress is not None and count:
            self._progress(count)

    def undo(self) -> None:
        self.add(-self._count)
