"""A small object to S3, so that nothing wrong is ever under its key.

A name that is a digest says that the bytes are there: whoever finds them under it does not look at
them. Most servers refuse a body that its Content-MD5 does not fit. Those that do not get it as an
upload of one part, which is compared before it becomes the object.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import Any

from ...errors import Corrupt, ModelyardError, ObjectMissing, StoreUnavailable
from .digests import Digests
from .s3_bucket import Bucket, md5_of
from .s3_errors import Unsupported, UploadGone
from .s3_upload import Upload, abort, complete

_TIMES = 3


def put_whole(bucket: Bucket, key: str, data: bytes, **parameters: Any) -> None:
    """Puts `data` under `key`; `parameters` go with the request (conditions).

    Raises Corrupt, and AlreadyThere for a condition that does not hold.
    """
    checks = bucket.checks
    if checks.etag and not checks.content_md5 and data and not parameters:
        with suppress(Unsupported):
            _put_part(bucket, key, data)
            return
    for _ in range(_TIMES):
        bucket.send("put_object", key, data, **parameters)
        if checks.any or is_stored(bucket, key, data):
            return
    remove_wrong(bucket, key, len(data), _digests(data))
    raise Corrupt(f"{key}: the store keeps other bytes than it was given")


def remove_wrong(bucket: Bucket, key: str, size: int, digests: Digests) -> None:
    """Best effort, where a server told nothing by which damage could have been known before.

    What is wrong must not be taken for what its name says.
    """
    with suppress(ModelyardError):
        if not bucket.read_again(key, size, digests):
            bucket.call("delete_object", key)


def is_stored(bucket: Bucket, key: str, data: bytes) -> bool:
    """True if the object's bytes are these, read again."""
    try:
        return bucket.read_again(key, len(data), _digests(data))
    except (ObjectMissing, StoreUnavailable):
        return False


def _digests(data: bytes) -> Digests:
    return Digests(sha256(data).hexdigest())


def _put_part(bucket: Bucket, key: str, data: bytes) -> None:
    upload = Upload(key, len(data), _digests(data), len(data))
    for _ in range(_TIMES):
        upload.id = bucket.call("create_multipart_upload", key)["UploadId"]
        try:
            md5 = md5_of(data)
            parameters = {"UploadId": upload.id, "PartNumber": 1}
            upload.parts = {
                1: (bucket.send("upload_part", key, data, md5, **parameters), md5.hex())
            }
            complete(bucket, upload)
            return
        except UploadGone:
            continue
        except BaseException:
            abort(bucket, upload)
            raise
    raise StoreUnavailable(f"{bucket.what('put', key)}: the store lost the upload {_TIMES} times")
