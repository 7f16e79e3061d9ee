"""An object from S3 into a file, verified; a large one in ranges, several at once."""

from __future__ import annotations

import ctypes
import os
import uuid
from collections import deque
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from pathlib import Path

from ...errors import Corrupt
from ..versions import sync_folder
from .base import Counted
from .digests import Digests, Hasher
from .s3_bucket import CHUNK, Bucket
from .s3_tries import Budget

_TIMES = 3
_SYNC_FILE_RANGE_WRITE = 2


def download_file(
    bucket: Bucket,
    pool: Executor,
    key: str,
    target: Path,
    size: int,
    digests: Digests,
    progress: Counted,
) -> None:
    """Fetches `key` to `target`, which appears whole. Raises Corrupt after three wrong answers."""
    new = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex[:8]}.new")
    try:
        with new.open("x+b") as file:
            for _ in range(_TIMES):
                with suppress(Corrupt):
                    hasher = Hasher(digests)
                    _fetch(bucket, pool, key, file.fileno(), size, progress, hasher)
                    if hasher.agrees:
                        break
                progress.undo()
            else:
                raise Corrupt(f"{key}: is not what its digest promises, in {_TIMES} tries")
            os.fsync(file.fileno())
        new.rename(target)
        sync_folder(target.parent)
    finally:
        new.unlink(missing_ok=True)


def _fetch(
    bucket: Bucket,
    pool: Executor,
    key: str,
    file: int,
    size: int,
    progress: Counted,
    hasher: Hasher,
) -> None:
    """Writes the object's bytes into `file`, and into `hasher`.

    That goes on here, in order, while others fetch what is next; so does the writing to the disk,
    so that little is left for the fsync.
    """
    part = bucket.limits.part
    count = -(-size // part)
    if not count and bucket.call("head_object", key)["ContentLength"] != 0:
        raise Corrupt(f"{key}: is not empty")

    def fetch_one(number: int) -> None:
        offset = number * part
        length = min(part, size - offset)
        budget = Budget(bucket.limits)

        def action() -> None:
            position = offset
            try:
                for chunk in bucket.chunks(key, offset, length, budget, size):
                    _write(file, chunk, position)
                    position += len(chunk)
                    progress.add(len(chunk))
            except BaseException:
                progress.add(offset - position)  # it comes again
                raise

        bucket.tries.call(bucket.what("get_object", key), action, budget)
        begin_writeback(file, offset, length)

    view = memoryview(bytearray(min(CHUNK, size)))
    ahead: deque[Future[None]] = deque()
    try:
        for number in range(count):
            while len(ahead) < 2 * bucket.limits.threads and number + len(ahead) < count:
                ahead.append(pool.submit(fetch_one, number + len(ahead)))
            ahead.popleft().result()
            end = min((number + 1) * part, size)
            for offset in range(number * part, end, CHUNK):
                read = view[: end - offset]
                os.preadv(file, [read], offset)
                hasher.update(read)
    finally:
        for task in ahead:
            task.cancel()
        wait(ahead)


def _write(file: int, chunk: bytes, position: int) -> None:
    view = memoryview(chunk)
    while view:  # a disk that becomes full takes some of it first
        count = os.pwrite(file, view, position)
        view, position = view[count:], position + count


def begin_writeback(file: int, offset: int, length: int) -> None:
    """Lets the kernel begin to write a range of a file to the disk (sync_file_range(2))."""
    with suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).sync_file_range(
            file, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
        )
