"""The keys of a store, and the numbers that decide what goes where.

modelyard.json                                    {"format": 1}
blobs/sha256/aa/<digest>                          a file's bytes
packs/sha256/aa/<digest>                          many small files' bytes, one after the other
models/<model>/weights/<id>.json                  a manifest; it is what publishes
datasets/<id>.json                                the same for a dataset version
registers/<path>/<counter, 12 digits>-<server>.json   append-only; the highest name wins
deleted/<key of a manifest>                       written before the manifest is removed
shared/<id>/<digest>.<suffix>                     archives behind presigned links
probes/<random>                                   for a moment, to learn the store's clock
"""

from __future__ import annotations

import re
from datetime import timedelta

FORMAT = 1
FORMAT_KEY = "modelyard.json"

SMALL = 256 * 1024
"""Bytes. Smaller files travel in packs: a request costs more than their bytes do."""
PACK = 16 * 1024 * 1024
"""Bytes that a pack has about. It is held in memory while it is made and while it is cut."""
LARGEST_PACK = 4 * PACK
"""Bytes. What a manifest says to be larger is none of ours, and is not taken into memory."""
MANIFEST_LIMIT = 64 * 1024 * 1024
"""Bytes; some 300,000 files."""

TOUCH_AFTER = timedelta(hours=12)
"""What a publisher finds there and is older gets young again, so that no repair collects it."""
COLLECT_AFTER = timedelta(hours=24)
"""What nothing refers to is kept so long: a publisher that is under way may need it."""
SHARED_FOR = timedelta(days=8)
"""S3 signs addresses for 7 days at most."""

_BUNDLE_KEY = re.compile(r"(?:models/(?P<model>[^/]+)/weights|datasets)/(?P<id>[0-9a-f]{32})\Z")
_REGISTER_ENTRY = re.compile(
    r"registers/(?P<path>.+)/(?P<counter>\d{12})-(?P<server>[^/]+)\.json\Z"
)


def blob_key(digest: str) -> str:
    return f"blobs/sha256/{digest[:2]}/{digest}"


def pack_key(digest: str) -> str:
    return f"packs/sha256/{digest[:2]}/{digest}"


def manifest_key(key: str) -> str:
    return f"{key}.json"


def tombstone_key(key: str) -> str:
    return f"deleted/{key}.json"


def bundle_id(key: str) -> str:
    """The id at the end of a bundle's key. Raises ValueError if it is no key of a bundle."""
    match = _BUNDLE_KEY.match(key)
    if match is None:
        raise ValueError(f"{key!r} is no key of a bundle")
    return match["id"]


def bundle_model(key: str) -> str | None:
    """The model that the key names; None for a dataset version, or no key of a bundle."""
    match = _BUNDLE_KEY.match(key)
    return None if match is None else match["model"]


def bundle_kind(key: str) -> str:
    return "dataset" if key.startswith("datasets/") else "weights"


def bundle_of(object_key: str) -> str | None:
    """The bundle's key for the object key of its manifest; None for other objects."""
    key = object_key.removesuffix(".json")
    return key if key != object_key and _BUNDLE_KEY.match(key) else None


def register_prefix(register: str) -> str:
    return f"registers/{register}/"


def register_key(register: str, counter: int, server: str) -> str:
    return f"registers/{register}/{counter:012d}-{server}.json"


def register_of(object_key: str) -> tuple[str, int, str] | None:
    """The register, counter and server of an entry's key; None for other objects."""
    match = _REGISTER_ENTRY.match(object_key)
    return None if match is None else (match["path"], int(match["counter"]), match["server"])
