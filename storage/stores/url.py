"""What `--storage` may say: s3://bucket/prefix, /a/folder or file:///a/folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ...errors import StoreRefused

# AWS's rule, with the capitals and underscores that other servers allow.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]\Z")


@dataclass(frozen=True)
class StoreUrl:
    """A store's address. `kind` is "s3" (then `bucket`, `prefix`) or "folder" (then `path`).

    `prefix` is empty or ends without a slash.
    """

    kind: str
    bucket: str = ""
    prefix: str = ""
    path: Path = Path()

    def __str__(self) -> str:
        if self.kind == "folder":
            return self.path.as_uri()
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_store_url(text: str) -> StoreUrl:
    """Reads a store's address. Raises StoreRefused, never repeating a secret that stood in it."""
    if text.startswith("/"):
        return _folder(text)
    try:
        parts = urlsplit(text)
        host, user, password, port = parts.hostname, parts.username, parts.password, parts.port
    except ValueError:
        raise StoreRefused("the storage URL cannot be read") from None
    if user is not None or password is not None or "@" in parts.netloc:
        raise StoreRefused(
            "the storage URL holds credentials: take them out and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the server's environment"
        )
    if parts.query or parts.fragment:
        raise StoreRefused("the storage URL has a query: s3://bucket/prefix is all there is to say")
    if parts.scheme == "file":
        if host not in (None, "localhost"):
            raise StoreRefused("file:// names a folder of this machine: file:///a/folder")
        return _folder(unquote(parts.path))
    if parts.scheme != "s3":
        raise StoreRefused(
            f"{text.partition(':')[0][:20]!r} is no kind of storage: s3://bucket/prefix, a folder's"
            " absolute path or file:///a/folder are (an S3 server's address goes into "
            "AWS_ENDPOINT_URL)"
        )
    if port is not None:
        raise StoreRefused("s3:// names a bucket; the server's address goes into AWS_ENDPOINT_URL")
    bucket = parts.netloc  # `hostname` would be in small letters
    if not _BUCKET.match(bucket):
        raise StoreRefused(f"{bucket!r} is no name of a bucket: s3://bucket/prefix")
    prefix = parts.path.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise StoreRefused("the storage URL's prefix has an empty part, '.' or '..'")
    return StoreUrl("s3", bucket=bucket, prefix=prefix)


def without_secrets(text: str) -> str:
    """A store's address as an operator wrote it, for messages: what may be a secret is left out."""
    return re.sub(r"[?#].*", "?…", re.sub(r"(?<=://).*@", "…@", text))


def _folder(path: str) -> StoreUrl:
    if not path.startswith("/") or "\0" in path:
        raise StoreRefused("a storage folder is named by its absolute path")
    return StoreUrl("folder", path=Path(path))
