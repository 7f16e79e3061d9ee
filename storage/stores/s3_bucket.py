"""Requests on one bucket, below a prefix: each is tried again, and its failure is one of ours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import Corrupt
from .base import Limits
from .digests import Digests, Hasher
from .s3_buffers import Buffers
from .s3_errors import AlreadyThere, Transient
from .s3_tries import Budget, Tries

CHUNK = 1024**2
_IN_MEMORY = 64 * 1024**2  # bytes of parts that are held at once


@dataclass(frozen=True)
class Checks:
    """How this server was seen to guard what it is sent.

    etag: an object's ETag is the MD5 of its bytes (not with KMS keys), so that we can compare.
    content_md5: it refuses bytes that are not those of their Content-MD5. With neither, what was
    put is read again.
    """

    etag: bool = False
    content_md5: bool = False

    @property
    def any(self) -> bool:
        return self.etag or self.content_md5


class Bucket:
    """`client` is boto3's. Keys of its calls are without the prefix."""

    def __init__(self, client: Any, name: str, prefix: str, limits: Limits) -> None:
        self.client = client
        self.name = name
        self.prefix = f"{prefix}/" if prefix else ""
        self.limits = limits
        self.tries = Tries(limits)
        self.checks = Checks()
        self.buffers = Buffers(_IN_MEMORY)

    def call(self, operation: str, key: str, **parameters: Any) -> Any:
        """One request on an object, by the name of boto3's method."""
        method = getattr(self.client, operation)
        return self.tries.call(
            self.what(operation, key),
            lambda: method(Bucket=self.name, Key=self.prefix + key, **parameters),
        )

    def ask(self, operation: str, **parameters: Any) -> Any:
        """One request on the bucket."""
        method = getattr(self.client, operation)
        return self.tries.call(self.what(operation), lambda: method(Bucket=self.name, **parameters))

    def what(self, operation: str, key: str = "") -> str:
        """What is being done, for messages."""
        where = f"{self.name}/{self.prefix}{key}".rstrip("/")
        return f"{operation.replace('_', ' ')} s3://{where}"

    def send(
        self, operation: str, key: str, data: bytes | bytearray, md5: bytes = b"", **parameters: Any
    ) -> str:
        """Puts an object or a part, and returns its ETag: the server has these bytes.

        `md5` is that of `data`, if it is known. A part goes without it where the ETag tells the
        same: hashing costs the server as much as all the rest, and some (rclone) give up the whole
        upload when one part is wrong. An object has it always: a wrong one would be seen.
        """
        md5 = md5 or md5_of(data)
        method = getattr(self.client, operation)
        if operation != "upload_part" or not self.checks.etag:
            parameters["ContentMD5"] = base64.b64encode(md5).decode()
        tries = 0

        def action() -> str:
            nonlocal tries
            tries += 1
            answer = method(Bucket=self.name, Key=self.prefix + key, Body=data, **parameters)
            etag = str(answer.get("ETag", "")).strip('"')
            if self.checks.etag and etag != md5.hex():
                raise Transient("changed on the way")
            return etag

        budget = Budget(self.limits, len(data))
        try:
            return self.tries.call(self.what(operation, key), action, budget)
        except AlreadyThere as error:
            raise AlreadyThere(str(error), tried_before=tries > 1) from error

    def chunks(
        self, key: str, offset: int, length: int, budget: Budget, size: int | None = None
    ) -> Iterator[bytes]:
        """A range of an object as it comes, from one request; raises whatever botocore raises.

        `size`, if known, is the whole object's. Corrupt: there are not that many bytes.
        """
        whole = length == 0 or (offset == 0 and length == size)
        ranged = {} if whole else _range(offset, length)
        answer = self.client.get_object(Bucket=self.name, Key=self.prefix + key, **ranged)
        body = answer["Body"]
        try:
            if answer["ContentLength"] != length:
                raise Corrupt(f"{key}: {answer['ContentLength']} bytes instead of {length}")
            total = str(answer.get("ContentRange", "")).rpartition("/")[2]
            if size is not None and total.isdigit() and int(total) != size:
                raise Corrupt(f"{key}: has {total} bytes instead of {size}")
            got = 0
            while got < length:
                chunk = body.read(min(CHUNK, length - got))
                if not chunk:
                    raise Transient("the answer broke off")
                budget.earn(len(chunk))
                budget.check()
                got += len(chunk)
                yield chunk
        finally:
            # Read to its end a connection is used again; else it is closed.
            body.close()

    def read_again(self, key: str, size: int, digests: Digests) -> bool:
        """True if the object's bytes are these, read from the server."""
        budget = Budget(self.limits)

        def action() -> bool:
            hasher = Hasher(digests)
            for chunk in self.chunks(key, 0, size, budget, size):
                hasher.update(chunk)
            return hasher.agrees

        try:
            return self.tries.call(self.what("get_object", key), action, budget)
        except Corrupt:
            return False

    def pages(self, operation: str, prefix: str, **parameters: Any) -> Iterator[Any]:
        """The answers of a listing, one request each; `prefix` is below the bucket's."""
        more: dict[str, Any] = {}
        while True:
            page = self.ask(operation, Prefix=self.prefix + prefix, **{**parameters, **more})
            yield page
            more = _next_page(page)
            if not more:
                return


def md5_of(data: bytes | bytearray) -> bytes:
    """The MD5 that S3 speaks of: against accidents, not against attackers."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def _range(offset: int, length: int) -> dict[str, str]:
    return {"Range": f"bytes={offset}-{offset + length - 1}"}


def _next_page(page: Any) -> dict[str, Any]:
    if not page.get("IsTruncated"):
        return {}
    names = {
        "NextContinuationToken": "ContinuationToken",
        "NextKeyMarker": "KeyMarker",
        "NextUploadIdMarker": "UploadIdMarker",
    }
    return {ours: page[theirs] for theirs, ours in names.items() if page.get(theirs)}
