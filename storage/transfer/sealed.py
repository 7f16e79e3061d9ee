"""Small JSON objects with a digest of themselves: no name tells theirs, and a bit may flip."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import NamedTuple

from ...errors import Corrupt
from ..stores.base import ObjectStore

_SEAL = re.compile(rb',"seal":"([0-9a-f]{64})"\}\Z')
_TRIES = 3


def seal(text: bytes) -> bytes:
    """A JSON object's text with a last member more: the SHA-256 of the text as it was."""
    digest = hashlib.sha256(text).hexdigest()
    return text[:-1] + b',"seal":"' + digest.encode() + b'"}'


def unseal(text: bytes, where: str) -> bytes:
    """The text as it was before. Raises Corrupt. A text without a seal is taken as it is."""
    found = _SEAL.search(text[-100:])
    if found is None:
        return text
    plain = text[: -len(found[0])] + b"}"
    if hashlib.sha256(plain).hexdigest() != found[1].decode():
        raise Corrupt(f"{where}: its bytes are not those of the SHA-256 in it")
    return plain


def get_sealed(store: ObjectStore, key: str, limit: int) -> bytes:
    """Raises ObjectMissing, and Corrupt when it is wrong each time that it is asked for."""
    return read_sealed(store, key, limit).text


class Read(NamedTuple):
    """A text without its seal; `size` is that of the object, in bytes."""

    text: bytes
    size: int

    @property
    def sealed(self) -> bool:
        """False: nothing says that it is what was written."""
        return self.size != len(self.text)


def read_sealed(store: ObjectStore, key: str, limit: int) -> Read:
    """As `get_sealed`, with what else is known of it."""
    for _ in range(_TRIES - 1):
        with suppress(Corrupt):
            return _read(store, key, limit)
    return _read(store, key, limit)


def _read(store: ObjectStore, key: str, limit: int) -> Read:
    text = store.get_bytes(key, limit)
    return Read(unseal(text, key), len(text))
