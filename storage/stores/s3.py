"""S3 and what speaks like it, by boto3, which is imported when the store is opened.

What servers do differently decides the form (measured on six): none refuses a wrong SHA-256, most
ignore If-None-Match, some lack list_parts, one wants a Content-MD5 for deletes of many. So digests
are compared here on every read, what a server can is tried when it is opened, and deletes go one
by one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import Corrupt, ModelyardError, NotSupported, ObjectMissing, StoreUnavailable
from .base import (
    Capabilities,
    Counted,
    Limits,
    ObjectInfo,
    ObjectStore,
    Progress,
    check_key,
    check_prefix,
    is_key,
    told_when_full,
)
from .digests import Digests, Hasher
from .s3_bucket import CHUNK, Bucket, md5_of
from .s3_client import connect
from .s3_download import download_file
from .s3_errors import AlreadyThere, Changed, Transient, Unsupported, UploadGone
from .s3_probe import probe
from .s3_tries import Budget
from .s3_upload import Upload, upload_file
from .s3_verify import verify_object
from .s3_whole import is_stored, put_whole, remove_wrong

_LONGEST_LINK_S = 7 * 86400  # Signature Version 4's limit
_LARGEST_COPY = 5 * 1024**3  # bytes; S3's limit for one request
_COPY_PART = 1024**3
_TIMES = 3


class S3Store(ObjectStore):
    """Objects below `prefix` in `bucket`.

    `foreign`: they are only read, and nothing is tried there by writing.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        environ: Mapping[str, str],
        limits: Limits,
        foreign: bool = False,
    ) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._name, self._prefix = bucket, prefix
        self._environ, self._limits, self._foreign = environ, limits, foreign
        self._lock = threading.Lock()
        self._opened: Bucket | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._capabilities = Capabilities()

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def open(self) -> None:
        bucket = self._bucket
        bucket.ask("list_objects_v2", Prefix=bucket.prefix, MaxKeys=1)

    def close(self) -> None:
        with self._lock:
            bucket, self._opened = self._opened, None
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        if bucket is not None:
            bucket.client.close()

    @property
    def _bucket(self) -> Bucket:
        """Opened at the first use, so that a store that was away when we started serves later."""
        bucket = self._opened
        if bucket is not None:
            return bucket
        with self._lock:
            if self._opened is None:
                bucket = self._connect()
                if not self._foreign:
                    bucket.checks, self._capabilities = probe(bucket)
                self._opened = bucket
            return self._opened

    def _known(self) -> Capabilities:
        return self._capabilities if self._bucket else Capabilities()

    def _connect(self) -> Bucket:
        bucket = Bucket(
            connect(self._environ, self._limits), self._name, self._prefix, self._limits
        )
        try:
            bucket.ask("list_objects_v2", Prefix=bucket.prefix, MaxKeys=1)
        except StoreUnavailable as error:
            cause = error.__cause__
            if not (isinstance(cause, Transient) and cause.unresolved):
                raise
            # The bucket is no host name of this server; or the server has no address at all.
            client = connect(self._environ, self._limits, path_style=True)
            bucket = Bucket(client, self._name, self._prefix, self._limits)
            bucket.ask("list_objects_v2", Prefix=bucket.prefix, MaxKeys=1)
        return bucket

    @property
    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._limits.threads, "store-part")
            return self._pool

    # -- writing --------------------------------------------------------------

    def put_bytes(self, key: str, data: bytes, if_absent: bool = False) -> bool:
        check_key(key)
        if if_absent and self._known().conditional:
            return self._put_if_absent(key, data)
        if if_absent and self.stat(key) is not None:
            return False
        put_whole(self._bucket, key, data)
        return True

    def _put_if_absent(self, key: str, data: bytes) -> bool:
        try:
            put_whole(self._bucket, key, data, IfNoneMatch="*")
        except AlreadyThere as error:
            # By an earlier try of ours, whose answer was lost?
            return error.tried_before and is_stored(self._bucket, key, data)
        return True

    def put_file(
        self,
        key: str,
        path: Path,
        size: int,
        digests: Digests,
        progress: Progress | None = None,
        resume: Path | None = None,
    ) -> Digests:
        check_key(key)
        if size > self._limits.part:
            return self._put_parts(key, path, size, digests, progress, resume)
        data, hasher = path.read_bytes(), Hasher(digests, complete=True)
        hasher.update(data)
        if len(data) != size or not hasher.agrees:
            raise Corrupt(f"{key}: the file's bytes are not those of its digest")
        put_whole(self._bucket, key, data)
        if progress is not None:
            progress(size)
        return hasher.digests

    def _put_parts(
        self,
        key: str,
        path: Path,
        size: int,
        digests: Digests,
        progress: Progress | None,
        resume: Path | None,
    ) -> Digests:
        bucket, counted = self._bucket, Counted(progress)
        resume = resume if self._known().list_parts else None
        for _ in range(_TIMES):
            upload = Upload(key, size, digests, self._limits.part)
            try:
                return upload_file(bucket, self._threads, upload, path, counted.add, resume)
            except UploadGone:
                counted.undo()
        if not bucket.checks.any:
            remove_wrong(bucket, key, size, digests)
        raise StoreUnavailable(
            f"{bucket.what('put', key)}: the store lost the upload {_TIMES} times"
        )

    def delete(self, key: str) -> None:
        with suppress(ObjectMissing):
            self._bucket.call("delete_object", check_key(key))

    def touch(self, key: str) -> None:
        bucket = self._bucket
        head = bucket.call("head_object", check_key(key))
        source = {"Bucket": bucket.name, "Key": bucket.prefix + key}
        try:
            if head["ContentLength"] > _LARGEST_COPY:
                # A server that cannot copy a part may not know that limit either.
                with suppress(Unsupported):
                    self._touch_parts(key, source, head["ContentLength"])
                    return
            # Onto itself it may be copied only with something changed: its (empty) metadata.
            bucket.call("copy_object", key, CopySource=source, MetadataDirective="REPLACE")
        except Unsupported:
            raise NotSupported("this store cannot renew the time of an object") from None

    def _touch_parts(self, key: str, source: Mapping[str, str], size: int) -> None:
        bucket = self._bucket
        upload = {"UploadId": bucket.call("create_multipart_upload", key)["UploadId"]}
        try:
            parts = []
            for number, offset in enumerate(range(0, size, _COPY_PART), 1):
                end = min(offset + _COPY_PART, size) - 1
                copied = bucket.call(
                    "upload_part_copy",
                    key,
                    **upload,
                    PartNumber=number,
                    CopySource=source,
                    CopySourceRange=f"bytes={offset}-{end}",
                )
                etag = copied.get("CopyPartResult", {}).get("ETag")
                if not etag:  # taken for an empty part
                    raise Unsupported(bucket.what("upload_part_copy", key))
                parts.append({"PartNumber": number, "ETag": etag})
            bucket.call(
                "complete_multipart_upload", key, **upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            with suppress(ModelyardError, UploadGone, Unsupported):
                bucket.call("abort_multipart_upload", key, **upload)
            raise

    def abort_stale(self, older_than_s: float) -> int:
        bucket, count = self._bucket, 0
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        try:
            for page in bucket.pages("list_multipart_uploads", ""):
                for upload in page.get("Uploads", ()):
                    key = upload["Key"].removeprefix(bucket.prefix)
                    if upload["Initiated"] < before:
                        with suppress(UploadGone, ObjectMissing):
                            bucket.call("abort_multipart_upload", key, UploadId=upload["UploadId"])
                            count += 1
        except (Unsupported, UploadGone, ObjectMissing):
            # One that cannot list them forgets them by itself, or its operator does it; some
            # answer NoSuchUpload when they have none (rclone).
            pass
        return count

    # -- reading --------------------------------------------------------------

    def get_bytes(self, key: str, limit: int) -> bytes:
        bucket = self._bucket
        check_key(key)
        budget = Budget(self._limits)

        def action() -> bytes:
            answer = bucket.client.get_object(Bucket=bucket.name, Key=bucket.prefix + key)
            with answer["Body"] as body:
                if answer["ContentLength"] > limit:
                    raise Corrupt(f"{key}: has more than {limit} bytes")
                pieces: list[bytes] = []
                while piece := body.read(CHUNK):
                    budget.earn(len(piece))
                    pieces.append(piece)
            data = b"".join(pieces)
            etag = answer.get("ETag", "").strip('"')
            # Small objects are put whole: their ETag follows from them wherever the probe's did.
            if bucket.checks.etag and etag not in _etags_of(data, etag):
                raise Changed("changed on the way")
            return data

        try:
            return bucket.tries.call(bucket.what("get_object", key), action, budget)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, Changed):  # each time: so it is what the store has
                raise Corrupt(f"{key}: its bytes are not those of its ETag") from error
            raise

    def get_file(
        self, key: str, target: Path, size: int, digests: Digests, progress: Progress | None = None
    ) -> None:
        check_key(key)
        counted = Counted(progress)
        with told_when_full(target):
            download_file(self._bucket, self._threads, key, target, size, digests, counted)

    def verify(
        self, key: str, size: int, digests: Digests, progress: Progress | None = None
    ) -> bool:
        return verify_object(self._bucket, check_key(key), size, digests, Counted(progress))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        bucket = self._bucket
        check_key(key)
        if length <= 0:
            return b""
        budget = Budget(self._limits)

        def action() -> bytes:
            return b"".join(bucket.chunks(key, offset, length, budget))

        return bucket.tries.call(bucket.what("get_object", key), action, budget)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            head = self._bucket.call("head_object", check_key(key))
        except ObjectMissing:
            return None
        return _info(key, head["ContentLength"], head["LastModified"])

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        bucket = self._bucket
        start: dict[str, Any] = {"StartAfter": bucket.prefix + after} if after else {}
        for answer in bucket.pages(
            "list_objects_v2", check_prefix(prefix), MaxKeys=self._limits.page, **start
        ):
            for item in answer.get("Contents", ()):
                key = item["Key"].removeprefix(bucket.prefix)
                # Some consoles make "folders": empty objects with a slash at the end.
                if is_key(key) and key > (after or ""):
                    yield _info(key, item["Size"], item["LastModified"])

    def presign(self, key: str, seconds: int, filename: str) -> str | None:
        """As in the seam; seven days at most, which is S3's limit."""
        bucket = self._bucket
        plain = "".join(
            c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename
        )
        disposition = (
            f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
        )
        address: str = bucket.client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": bucket.name,
                "Key": bucket.prefix + check_key(key),
                "ResponseContentDisposition": disposition,
            },
            ExpiresIn=max(1, min(seconds, _LONGEST_LINK_S)),
        )
        return address


def _etags_of(data: bytes, etag: str) -> tuple[str, ...]:
    """What the ETag of these bytes may be; one of several parts is not judged."""
    md5 = md5_of(data)
    several = "-" in etag and not etag.endswith("-1")
    return (md5.hex(), f"{md5_of(md5).hex()}-1", *((etag,) if several else ()))


def _info(key: str, size: int, modified: datetime) -> ObjectInfo:
    # Whole seconds: some servers tell more of them in listings than in headers.
    return ObjectInfo(key, size, modified.astimezone(UTC).replace(microsecond=0))
