"""What an issuer tells of itself: its metadata and its keys, fetched by the front.

The operator has named the issuer; its metadata names where its keys are. Nothing that a caller
sends is an address here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ...addresses import is_loopback_host

_LIMIT = 512 * 1024
_TIME_S = 10.0
_WELL_KNOWN = "/.well-known/openid-configuration"


class IssuerFault(Exception):
    """The issuer cannot be reached, or tells what cannot be used."""


class Issuer:
    """Where an issuer's documents are fetched from. Lives in one event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._local = is_loopback_host(urlsplit(name).hostname)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def key_set(self) -> Any:
        """Its JWK set as JSON values. Raises IssuerFault."""
        document = await self._json(self.name.rstrip("/") + _WELL_KNOWN)
        told = document.get("issuer") if isinstance(document, Mapping) else None
        if told != self.name:
            # OpenID Connect Discovery 1.0 section 4.3: else one issuer could speak for another.
            raise IssuerFault(f"{self.name} calls itself {told!r}: oidc_issuer has to be the same")
        address = document.get("jwks_uri")
        if not isinstance(address, str):
            raise IssuerFault(f"{self.name} does not tell where its keys are (jwks_uri)")
        return await self._json(address)

    async def _json(self, address: str) -> Any:
        self._check(address)
        try:
            async with self._opened().get(
                address,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_TIME_S),
                headers={"Accept": "application/json"},
            ) as response:
                if response.status != 200:
                    raise IssuerFault(f"{address} answered {response.status}")
                return json.loads(await _limited(response, address))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            told = str(error) or type(error).__name__
            raise IssuerFault(f"{address} cannot be reached: {told}") from error
        except (ValueError, RecursionError) as error:
            raise IssuerFault(f"{address} answered no JSON") from error

    def _check(self, address: str) -> None:
        """https, or http from this machine to itself. Raises IssuerFault."""
        try:
            parts = urlsplit(address)
            host = parts.hostname
        except ValueError as error:
            raise IssuerFault(f"{address!r} is no address") from error
        local = parts.scheme == "http" and self._local and is_loopback_host(host)
        if not host or not (parts.scheme == "https" or local):
            raise IssuerFault(f"{address!r} is not https")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A laboratory's proxy (HTTPS_PROXY) is between us and the world, not within a machine.
            self._session = aiohttp.ClientSession(trust_env=not self._local)
        return self._session


async def _limited(response: aiohttp.ClientResponse, address: str) -> bytes:
    body = b""
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > _LIMIT:
            raise IssuerFault(f"{address} answered more than {_LIMIT // 1024} KiB")
        await asyncio.sleep(0)
    return body
