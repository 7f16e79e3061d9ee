"""What an issuer tells: its metadata and keys, and what its token endpoint answers to the front.

The operator has named the issuer; its metadata names where its keys are. Nothing that a caller
sends is an address here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from ...addresses import is_loopback_host

_LIMIT = 512 * 1024
_TIME_S = 10.0
_KEPT_S = 600.0
_WELL_KNOWN = "/.well-known/openid-configuration"


class IssuerFault(Exception):
    """The issuer cannot be reached, or tells what cannot be used."""


class Issuer:
    """Where an issuer's documents are fetched from. Lives in one event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._local = is_loopback_host(urlsplit(name).hostname)
        self._session: aiohttp.ClientSession | None = None
        self._about: Mapping[str, Any] = {}
        self._until = float("-inf")
        self._asking: asyncio.Future[Mapping[str, Any]] | None = None

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def key_set(self) -> Any:
        """Its JWK set as JSON values. Raises IssuerFault."""
        about = await self._asked()
        address = about.get("jwks_uri")
        if not isinstance(address, str):
            raise IssuerFault(f"{self.name} does not tell where its keys are (jwks_uri)")
        return await self._json(address)

    async def about(self) -> Mapping[str, Any]:
        """Its metadata, at most ten minutes old. Raises IssuerFault."""
        if time.monotonic() <= self._until:
            return self._about
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._asked())
            self._asking.add_done_callback(_seen)
        # Who asks meanwhile gets the same answer: a queue would be as long as strangers like.
        return await asyncio.shield(self._asking)

    async def posted(
        self, address: str, form: Mapping[str, str], client: tuple[str, str | None], in_form: bool
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object of what its token endpoint answers to this client: its id and its
        secret, if it has one (RFC 6749 section 2.3.1). Raises IssuerFault."""
        name, secret = client
        data, headers = dict(form), {"Accept": "application/json"}
        if secret is None or in_form:
            data["client_id"] = name
        if secret is not None and in_form:
            data["client_secret"] = secret
        elif secret is not None:
            pair = aiohttp.BasicAuth(quote(name, safe=""), quote(secret, safe=""))
            headers["Authorization"] = pair.encode()
        status, told = await self._exchanged("POST", address, headers, data)
        return status, told if isinstance(told, Mapping) else {}

    def checked(self, address: object) -> str:
        """An address that it tells of: https, or http from this machine to itself.

        Raises IssuerFault.
        """
        if not isinstance(address, str):
            raise IssuerFault(f"{address!r} is no address")
        self._check(address)
        return address

    async def _asked(self) -> Mapping[str, Any]:
        document = await self._json(self.name.rstrip("/") + _WELL_KNOWN)
        told = document.get("issuer") if isinstance(document, Mapping) else None
        if told != self.name:
            # OpenID Connect Discovery 1.0 section 4.3: else one issuer could speak for another.
            raise IssuerFault(f"{self.name} calls itself {told!r}: oidc_issuer has to be the same")
        self._about, self._until = document, time.monotonic() + _KEPT_S
        return self._about

    async def _json(self, address: str) -> Any:
        status, told = await self._exchanged("GET", address, {"Accept": "application/json"}, None)
        if status != 200:
            raise IssuerFault(f"{address} answered {status}")
        return told

    async def _exchanged(
        self, method: str, address: str, headers: Mapping[str, str], data: dict[str, str] | None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer; of one that is neither 200 nor 400, 401 or 403 no JSON."""
        self._check(address)
        try:
            async with self._opened().request(
                method,
                address,
                data=data,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_TIME_S),
                headers=headers,
            ) as response:
                if response.status not in (200, 400, 401, 403):
                    return response.status, None
                return response.status, json.loads(await _limited(response, address))
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
            self._session = aiohttp.ClientSession(
                trust_env=not self._local, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


def _seen(asking: asyncio.Future[Mapping[str, Any]]) -> None:
    if not asking.cancelled():
        asking.exception()  # who asked may have gone


async def _limited(response: aiohttp.ClientResponse, address: str) -> bytes:
    body = b""
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > _LIMIT:
            raise IssuerFault(f"{address} answered more than {_LIMIT // 1024} KiB")
        await asyncio.sleep(0)
    return body
