"""TLS of the port, from files that may be renewed while the server runs. Runs in the front."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from ...errors import InvalidSettings
from ...settings import Settings

log = logging.getLogger(__name__)

HANDSHAKE_S = 15.0
"""Seconds that a client has for it."""
_LOOK_S = 30.0


class Certificate:
    """The certificate of the settings; `context` is what the port speaks with.

    Raises InvalidSettings if the files cannot be used.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert, self._key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        try:
            self._stamp = self._load(self.context)
        except (OSError, ssl.SSLError) as error:
            raise InvalidSettings(
                f"The certificate cannot be used: {error}. --tls-cert is its file (PEM, with its "
                "chain), --tls-key that of its key, without a password."
            ) from error

    def pem(self) -> tuple[bytes, bytes]:
        """Key and certificate as they were when both could be used last."""
        return self._pem

    async def follow(self, every_s: float = _LOOK_S) -> None:
        """Takes what is renewed: connections from then on have it. Until it is cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if self._stamped() == self._stamp:
                    continue
                # Half of it may have been written: the context that is used would lose its key.
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._stamp = self._load(self.context)
                log.info("a renewed certificate was taken")
            except (OSError, ssl.SSLError) as error:
                log.warning("the renewed certificate cannot be used yet: %s", error)

    def _load(self, context: ssl.SSLContext) -> tuple[float, float]:
        stamp = self._stamped()
        # Without the callback a key with a password would ask for it on the terminal.
        context.load_cert_chain(self._cert, self._key, password=lambda: "")
        self._pem = (self._key or self._cert).read_bytes(), self._cert.read_bytes()
        return stamp

    def _stamped(self) -> tuple[float, float]:
        return self._cert.stat().st_mtime, (self._key or self._cert).stat().st_mtime


def certificate_of(settings: Settings) -> Certificate | None:
    """The settings' one; None: without TLS. Raises InvalidSettings."""
    if settings.tls_cert is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)
