"""What an S3 server can, tried on a small object when the store is opened.

Asked nowhere: servers ignore silently what they do not know.
"""

from __future__ import annotations

import base64
import uuid
from contextlib import suppress

from ...errors import ModelyardError, StoreRefused
from .base import Capabilities
from .s3_bucket import Bucket, Checks, md5_of
from .s3_errors import AlreadyThere, Unsupported, UploadGone

# Under shared/, so that `repair` removes one that was left by a process that was killed here.
_FOLDER = "shared/"
_DATA = b"modelyard tries what this server can\n"


def probe(bucket: Bucket) -> tuple[Checks, Capabilities]:
    """Tries it. With credentials that may only read, nothing is told to be there.

    Raises StoreUnavailable.
    """
    key = f"{_FOLDER}probe-{uuid.uuid4().hex}"
    try:
        answer = bucket.call("put_object", key, Body=_DATA)
    except (StoreRefused, Unsupported):
        return Checks(), Capabilities()
    try:
        etag = answer.get("ETag", "").strip('"') == md5_of(_DATA).hex()
        checks = Checks(etag=etag, content_md5=_refuses_wrong_md5(bucket, key))
        conditional = _refuses_second(bucket, key)
    finally:
        with suppress(ModelyardError):
            bucket.call("delete_object", key)
    return checks, Capabilities(conditional=conditional, list_parts=_lists_parts(bucket, key))


def _refuses_wrong_md5(bucket: Bucket, key: str) -> bool:
    """Asked of the client directly: elsewhere BadDigest means that it was damaged on the way."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]

    header = base64.b64encode(md5_of(b"other bytes")).decode()
    full = bucket.prefix + key

    def action() -> bool:
        try:
            bucket.client.put_object(Bucket=bucket.name, Key=full, Body=_DATA, ContentMD5=header)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 400:
                return True
            raise
        return False

    return bucket.tries.call(bucket.what("put_object", key), action)


def _refuses_second(bucket: Bucket, key: str) -> bool:
    try:
        bucket.call("put_object", key, Body=_DATA, IfNoneMatch="*")
    except AlreadyThere:
        return True
    except (StoreRefused, Unsupported):
        return False
    return False


def _lists_parts(bucket: Bucket, key: str) -> bool:
    upload = ""
    try:
        upload = bucket.call("create_multipart_upload", key)["UploadId"]
        etag = bucket.send("upload_part", key, _DATA, UploadId=upload, PartNumber=1)
        page = bucket.call("list_parts", key, UploadId=upload)
        return [part["ETag"].strip('"') for part in page.get("Parts", ())] == [etag]
    except (ModelyardError, UploadGone, Unsupported, KeyError):
        return False
    finally:
        if upload:
            with suppress(ModelyardError, UploadGone, Unsupported):
                bucket.call("abort_multipart_upload", key, UploadId=upload)
