"""What an object's bytes must be: their SHA-256, by which the store names them, and their BLAKE3.

BLAKE3 is as strong, and ten times as fast where the processor has no instructions for SHA-256:
where it is known bytes are compared by it alone (https://github.com/BLAKE3-team/BLAKE3-specs).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from blake3 import blake3


class Digests(NamedTuple):
    """Both as hex digits. Without a BLAKE3, the SHA-256 decides."""

    sha256: str
    blake3: str | None = None


class Hasher:
    """Bytes as they go by, held against what they should be.

    complete: the BLAKE3 is computed also where it is not known yet; see `complete`.
    """

    def __init__(self, expected: Digests, complete: bool = False) -> None:
        self._expected = expected
        self._sha256 = None if expected.blake3 else hashlib.sha256()
        self._blake3 = blake3() if complete or expected.blake3 else None

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes. Lets other threads run meanwhile."""
        if self._sha256 is not None:
            self._sha256.update(data)
        if self._blake3 is not None:
            self._blake3.update(data)

    @property
    def agrees(self) -> bool:
        """True if all bytes so far are the expected ones."""
        if self._sha256 is not None:
            return self._sha256.hexdigest() == self._expected.sha256
        return self._blake3 is not None and self._blake3.hexdigest() == self._expected.blake3

    @property
    def digests(self) -> Digests:
        """The expected ones, and the BLAKE3 if it was computed; once `agrees`."""
        if self._blake3 is None:
            return self._expected
        return self._expected._replace(blake3=self._blake3.hexdigest())
