"""What the storage process's jobs share: bounded threads, a meter, locks, the store's clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from ...errors import ModelyardError, StoreUnavailable
from ..stores.base import ObjectStore

THREADS = 8
"""Requests on whole objects at once; the store bounds the parts of large ones by itself."""
PACKS_AT_ONCE = 3
"""Packs in memory at once, over all jobs."""
_TELL_S = 0.2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Stopped(ModelyardError):
    """The call was cancelled."""


class Meter:
    """Bytes done of bytes in all, told a few times a second; here a job learns that it is over."""

    def __init__(self, tell: Callable[[int, int], None] | None = None) -> None:
        self.total = 0
        self.stopped = threading.Event()
        self._tell = tell
        self._done = 0
        self._told = 0.0
        self._lock = threading.Lock()

    def begin(self, total: int) -> None:
        with self._lock:
            self.total, self._done, self._told = total, 0, 0.0

    def add(self, count: int) -> None:
        """`count` may be negative: bytes that must be moved again. Raises Stopped."""
        self.check()
        with self._lock:
            self._done += count
            now = time.monotonic()
            if self._tell is None or (now - self._told < _TELL_S and self._done < self.total):
                return
            self._told = now
            done = self._done
        self._tell(min(done, self.total), self.total)

    def check(self) -> None:
        """Raises Stopped if the caller has cancelled."""
        if self.stopped.is_set():
            raise Stopped()


class Workers:
    """The threads that all jobs share."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="transfer")
        self.packs = threading.BoundedSemaphore(PACKS_AT_ONCE)

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """What `work` gives for every item, several at once, in the order in which it is done.

        Raises the first error, when no call is at work any more. `items` is read as it goes: it
        may be long. Must not be called by `work` itself.
        """
        pending: set[Future[_Result]] = set()
        rest = iter(items)
        try:
            while True:
                for item in rest:
                    pending.add(self._executor.submit(work, item))
                    if len(pending) >= 2 * self._threads:
                        break
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)

    def each(self, work: Callable[[_Item], object], items: Iterable[_Item]) -> None:
        """As `map`, for what gives nothing."""
        for _ in self.map(work, items):
            pass


class KeyedLocks:
    """One lock a name, for as long as somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[name]
                if users == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, users - 1)


class StoreClock:
    """Ages by the store's own clock: ours may be hours off, and would make what is new look old."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._offset: timedelta | None = None
        self._lock = threading.Lock()

    def age(self, modified: datetime) -> timedelta:
        """How long ago `modified`, as the store tells it, is. The first time writes an object."""
        with self._lock:
            if self._offset is None:
                self._offset = self._look()
            return datetime.now(UTC) + self._offset - modified

    def _look(self) -> timedelta:
        key = f"probes/{uuid4().hex}"
        self._store.put_bytes(key, b"probe")
        info = self._store.stat(key)
        now = datetime.now(UTC)
        self._store.delete(key)
        if info is None:
            raise StoreUnavailable("The store does not show what was put into it a moment ago.")
        return info.modified - now
