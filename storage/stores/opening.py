"""Opens the store that an address names.

Not for the front: that only reads addresses (`url.py`), and is to stay without what is behind them.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import Limits, ObjectStore
from .folder import FolderStore
from .s3 import S3Store
from .url import parse_store_url


def open_store(
    url: str, environ: Mapping[str, str], limits: Limits | None = None, foreign: bool = False
) -> ObjectStore:
    """The store at `url` (see `url.py`); nothing is asked of it before its `open()`.

    `environ` holds the AWS_* variables. `foreign`: somebody else's, which is only read; opening
    does not write there to try what it can. Raises StoreRefused for a URL that names no store.
    """
    place = parse_store_url(url)
    if place.kind == "folder":
        return FolderStore(place.path)
    return S3Store(place.bucket, place.prefix, environ, limits or Limits(), foreign)
