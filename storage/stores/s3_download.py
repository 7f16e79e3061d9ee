"""An object from S3 into a file, verified; a large one in ranges, several at once."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from threading import Lock

from ...errors import Corrupt
from ..versions import sync_folder
from .base import Counted
from .s3_bucket import CHUNK, Bucket
from .s3_tries import Budget
from .s3_upload import run_some

_TIMES = 3


def download_file(
    bucket: Bucket,
    pool: Executor,
    key: str,
    target: Path,
    size: int,
    sha256: str,
    progress: Counted,
) -> None:
    """Fetches `key` to `target`, which appears whole. Raises Corrupt after three wrong answers."""
    new = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.new")
    try:
        with new.open("x+b") as file:
            for _ in range(_TIMES):
                with suppress(Corrupt):
                    if _fetch(bucket, pool, key, file.fileno(), size, progress) == sha256:
                        break
                progress.undo()
            else:
                raise Corrupt(f"{key}: is not what {sha256[:12]}… promises, in {_TIMES} tries")
            os.fsync(file.fileno())
        new.rename(target)
        sync_folder(target.parent)
    finally:
        new.unlink(missing_ok=True)


def _fetch(
    bucket: Bucket, pool: Executor, key: str, file: int, size: int, progress: Counted
) -> str:
    """Writes the object's bytes into `file`; returns their SHA-256."""
    part = bucket.limits.part
    count = -(-size // part)
    digest = _Digest(file, part, size)
    if count != 1 and bucket.call("head_object", key)["ContentLength"] != size:
        raise Corrupt(f"{key}: has not {size} bytes")

    def fetch_one(number: int) -> None:
        offset = number * part
        length = min(part, size - offset)
        budget = Budget(bucket.limits, length)

        def action() -> None:
            position = offset
            for chunk in bucket.chunks(key, offset, length, budget, size):
                os.pwrite(file, chunk, position)
                position += len(chunk)

        bucket.tries.call(bucket.what("get_object", key), action, budget)
        digest.done(number)
        progress.add(length)

    def tasks() -> Iterator[Future[None]]:
        for number in range(count):
            yield pool.submit(fetch_one, number)

    if count == 1:
        fetch_one(0)
    else:
        run_some(tasks(), 2 * bucket.limits.threads)
    return digest.hex()


class _Digest:
    """SHA-256 of a file whose parts are written in any order: as far as it goes without gaps."""

    def __init__(self, file: int, part: int, size: int) -> None:
        self._file, self._part, self._size = file, part, size
        self._lock = Lock()
        self._written: set[int] = set()
        self._next = 0
        self._busy = False
        self._sha256 = hashlib.sha256()

    def done(self, number: int) -> None:
        """A part is written. Whoever brings the one that is next hashes on; the others go on."""
        with self._lock:
            self._written.add(number)
            if self._busy:
                return
            self._busy = True
        while True:
            with self._lock:
                if self._next not in self._written:
                    self._busy = False
                    return
                number = self._next
                self._next += 1
            end = min((number + 1) * self._part, self._size)
            for offset in range(number * self._part, end, CHUNK):
                self._sha256.update(os.pread(self._file, min(CHUNK, end - offset), offset))

    def hex(self) -> str:
        return self._sha256.hexdigest()
