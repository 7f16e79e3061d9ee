"""Is an object on S3 what its digest promises? Read in ranges, of which none is kept."""

from __future__ import annotations

from ...errors import Corrupt, ObjectMissing
from .base import Counted
from .digests import Digests, Hasher
from .s3_bucket import Bucket
from .s3_tries import Budget

_TIMES = 2


def verify_object(bucket: Bucket, key: str, size: int, digests: Digests, progress: Counted) -> bool:
    """True if the object has these bytes. What seems wrong is read once more: a bit may have
    flipped on its way here."""
    for _ in range(_TIMES):
        try:
            if _agrees(bucket, key, size, digests, progress):
                return True
        except ObjectMissing:
            progress.undo()
            return False
        except Corrupt:  # it has another size
            pass
        progress.undo()
    return False


def _agrees(bucket: Bucket, key: str, size: int, digests: Digests, progress: Counted) -> bool:
    if size == 0 and bucket.call("head_object", key)["ContentLength"] != 0:
        return False
    hasher = Hasher(digests)
    for offset in range(0, size, bucket.limits.part):
        data = _range(bucket, key, offset, min(bucket.limits.part, size - offset), size)
        hasher.update(data)
        progress.add(len(data))
    return hasher.agrees


def _range(bucket: Bucket, key: str, offset: int, length: int, size: int) -> bytes:
    budget = Budget(bucket.limits, length)

    def action() -> bytes:
        return b"".join(bucket.chunks(key, offset, length, budget, size))

    return bucket.tries.call(bucket.what("get_object", key), action, budget)
