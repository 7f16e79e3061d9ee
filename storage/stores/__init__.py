"""Object stores: keys and bytes that several servers share, in a folder or by S3."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Limits, ObjectStore
from .url import parse_store_url


def open_store(
    url: str, environ: Mapping[str, str], limits: Limits | None = None, foreign: bool = False
) -> ObjectStore:
    """The store at `url` (see `url.py`); nothing is asked of it before its `open()`.

    `environ` holds the AWS_* variables. `foreign`: somebody else's, which is only read; opening
    does not write there to try what it can. Raises StoreRefused for a URL that names no store.
    """
    # The server's own process opens no store, only reads addresses: it is to stay without these.
    from .folder import FolderStore
    from .s3 import S3Store

    place = parse_store_url(url)
    if place.kind == "folder":
        return FolderStore(place.path)
    return S3Store(place.bucket, place.prefix, environ, limits or Limits(), foreign)
