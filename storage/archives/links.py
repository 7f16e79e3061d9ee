"""Addresses that give one archive to whoever has them, until they expire.

A token is what it gives (model, version, format, until when) and an HMAC-SHA256 of that, keyed with
a key of this home. Nothing is kept of it: a link ends by its time, by the version's end, or, all at
once, by removing HOME/link.key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import NotPermitted
from ..versions import VERSION_ID, sync_folder
from .formats import ArchiveFormat

_PURPOSE = b"modelyard share link 1\0"
"""So that a signature of ours for anything else is never one of a link."""
_KEY_BYTES = 32


@dataclass(frozen=True)
class Share:
    """What a link gives; `expires_at` is in seconds of the Unix clock."""

    model: str
    version: str
    format: ArchiveFormat
    expires_at: int


def link_key(path: Path) -> bytes:
    """The key in the file `path` (0600), made when it is first asked for. Blocking.

    Raises OSError; a file of another length is an operator's mistake and raises ValueError.
    """
    with suppress(FileNotFoundError):
        return _read(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another call was faster: its key is the key
            os.link(new, path)
    finally:
        new.unlink()
    sync_folder(path.parent)
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path}: has not {_KEY_BYTES} bytes; remove it, and links end")
    return key


def sign(key: bytes, share: Share) -> str:
    """The token, of letters, digits, `-`, `_` and one dot."""
    said = [share.model, share.version, share.format.value, share.expires_at]
    payload = json.dumps(said, separators=(",", ":")).encode()
    return f"{_text(payload)}.{_text(_mac(key, payload))}"


def verify(key: bytes, token: str, now: float) -> Share:
    """What a token gives. Raises NotPermitted: not signed with this key, or expired."""
    payload_text, _, mac_text = token.partition(".")
    try:
        payload, mac = _bytes(payload_text), _bytes(mac_text)
    except ValueError:  # binascii.Error is one
        payload, mac = b"", b""
    # Compared in constant time, and before anything of the payload is read.
    if not hmac.compare_digest(_mac(key, payload), mac):
        raise NotPermitted("This link is not valid: it was changed, or is of another server.")
    model, version, kind, expires_at = json.loads(payload)
    share = Share(str(model), str(version), ArchiveFormat(kind), int(expires_at))
    if not VERSION_ID.match(share.version):
        raise NotPermitted("This link is not valid.")
    if share.expires_at <= now:
        raise NotPermitted("This link has expired: ask for a new one.")
    return share


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + payload, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ValueError for another spelling of the same bytes than ours: padding, `+` and `/`,
    bits of the last letter that mean nothing. Who counts or blocks links by their text gets all."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not as it was written")
    return data
