"""One exchange with an OpenID Connect issuer, for `sign_in.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ..addresses import is_loopback_host
from .errors import ClientError, ServerUnreachable, UnexpectedAnswer

_TIME_S = 20.0
_LIMIT = 512 * 1024
_WELL_KNOWN = "/.well-known/openid-configuration"


class IssuerSession:
    """Asks an issuer: https, or http on this machine; never where it sends us on to."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> IssuerSession:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIME_S),
            headers={"Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def about(self, issuer: str) -> Mapping[str, Any]:
        """Its metadata (OpenID Connect Discovery 1.0). Raises ClientError's family."""
        status, told = await self.ask("GET", issuer.rstrip("/") + _WELL_KNOWN)
        if status != 200 or told.get("issuer") != issuer:
            raise UnexpectedAnswer(f"{issuer} is no OpenID Connect issuer of that name.", status)
        return told

    async def ask(
        self, method: str, address: str, **form: str | None
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object of the answer, also of one that refuses (RFC 6749 section 5.2).

        Raises ServerUnreachable, UnexpectedAnswer, and ClientError for an address that is not safe.
        """
        check_safe(address)
        assert self._session is not None
        data = {name: value for name, value in form.items() if value is not None}
        try:
            async with self._session.request(
                method, address, data=data or None, allow_redirects=False
            ) as response:
                body = b""
                async for chunk in response.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > _LIMIT:
                        raise UnexpectedAnswer(f"{address} answered too much.", response.status)
                    await asyncio.sleep(0)
                return response.status, _object(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            told = str(error) or "it does not answer"
            raise ServerUnreachable(f"{address} cannot be reached: {told}") from error


def check_safe(address: str) -> None:
    """Raises ClientError unless what is sent there stays secret on its way."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    if not host or not safe or not address.isprintable():
        raise ClientError(f"{address!r} is no safe address of an issuer: it has to be https.")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, Mapping) else {}
