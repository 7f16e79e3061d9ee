"""One HTTP exchange: addresses, deadlines, retries, and aiohttp's errors turned into ours.

A call is tried again only if doing it twice is the same as doing it once (GET, PUT, DELETE, a POST
with an Idempotency-Key, and what says so itself), and only after a lost connection or an answer
that says "later" (502, 503, 504). The pause doubles from 0.2 s, with jitter; a Retry-After is
obeyed up to 10 s.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from .address import server_address
from .authority import Authority
from .bodies import Body, CallBody
from .errors import ClientError, ServerUnreachable, TimedOut, UnexpectedAnswer, refusal

_LATER = frozenset({502, 503, 504})
_SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_DOUBT = "is it a Modelyard server?"
_WORDS = 300  # characters of what a library says
_ERROR_BODY_LIMIT = 4 * 1024**2  # bytes of a refusal that are read

Query = Mapping[str, Any]


@dataclass(frozen=True)
class Timeouts:
    """Seconds; None bounds nothing.

    `connect_s` bounds the connecting, `total_s` one attempt of an ordinary call. What moves many
    bytes has no bound in all: `read_s` bounds the server's silence there. `predict_s` is that for
    predictions: the server has a deadline for each model, so this is only a safety net.
    """

    connect_s: float = 5.0
    total_s: float | None = 30.0
    read_s: float | None = 60.0
    predict_s: float | None = 600.0


@dataclass(frozen=True)
class Call:
    """One request as the client means it. `path` has its parts quoted already (`path_of`).

    `streamed` is for an answer of any length, `endless` for one that may pause as it likes;
    `timeout_s` stands in place of what `Timeouts` says. `idempotent` is a POST that the server
    takes twice for once; `anonymous` one that shows neither key nor token.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=CallBody)
    timeout_s: float | None = None
    streamed: bool = False
    endless: bool = False
    retried: bool = True
    idempotent: bool = False
    anonymous: bool = False

    @property
    def repeatable(self) -> bool:
        safe = self.idempotent or self.method in _SAFE or "Idempotency-Key" in self.headers
        return self.retried and safe and self.body.repeatable


def path_of(*parts: str) -> str:
    """The path of these parts, each quoted: a name with `/` in it stays one part."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Transport:
    """The connections to one server. Lives in one event loop; `close` ends it."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        attempts: int,
        authority: Authority | None = None,
    ) -> None:
        self.url = server_address(url)
        self._headers = dict(headers)
        said = any(name.lower() == "authorization" for name in headers)
        self._authority = None if said else authority
        self._timeouts = timeouts
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @staticmethod
    def is_lost(error: ClientError) -> bool:
        """Whether the same call may do better in a moment: no answer, or one that says "later"."""
        return isinstance(error, ServerUnreachable | TimedOut) or error.status in _LATER

    async def json(self, call: Call) -> Any:
        """The answer's JSON value. Raises ClientError's family."""
        async with self.open(call) as response:
            return await self.json_of(response)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer (below 400), its body still to be read. Raises ClientError's family."""
        call.body.check()
        async with AsyncExitStack() as stack:
            response = await self._answered(call, stack)
            with _Told(self.url, call):
                yield response

    async def _answered(self, call: Call, stack: AsyncExitStack) -> aiohttp.ClientResponse:
        attempts = self._attempts if call.repeatable else 1
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(call, stack)
            except ClientError as error:
                lost = isinstance(error, ServerUnreachable) or error.status in _LATER
                if not lost or attempt == attempts:
                    raise
                await asyncio.sleep(_pause_s(attempt, error.retry_after_s))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, call: Call, stack: AsyncExitStack) -> aiohttp.ClientResponse:
        known = None if call.anonymous else self._authority
        shown = {} if known is None else await known.headers()
        with ExitStack() as files, _Told(self.url, call):
            data, headers = call.body.open(files)
            response = await stack.enter_async_context(
                self._opened().request(
                    call.method,
                    URL(self.url + call.path, encoded=True).update_query(_pairs(call.query)),
                    data=data,
                    headers={**shown, **self._headers, **headers, **call.headers},
                    timeout=self._timeout(call),
                    allow_redirects=call.method == "GET",
                )
            )
            if response.status >= 400:
                raise await _refused(response)
            if response.status >= 300:
                raise UnexpectedAnswer(
                    f"The server answered {response.status} to {call.method} {call.path}.",
                    response.status,
                )
            return response

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Made at the first call: a session belongs to the loop that runs when it is made.
            self._session = aiohttp.ClientSession()
        return self._session

    def _timeout(self, call: Call) -> aiohttp.ClientTimeout:
        connect = self._timeouts.connect_s
        if call.endless:
            return aiohttp.ClientTimeout(total=None, sock_connect=connect)
        if call.streamed or call.body.streams:
            silence = self._timeouts.read_s if call.timeout_s is None else call.timeout_s
            return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=silence)
        total = self._timeouts.total_s if call.timeout_s is None else call.timeout_s
        return aiohttp.ClientTimeout(total=total, sock_connect=connect)

    async def json_of(self, response: aiohttp.ClientResponse) -> Any:
        body = await response.read()
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(
                f"{self.url} answered {response.content_type}, which is no JSON: {_DOUBT}",
                response.status,
            ) from error


class _Told:
    """Turns aiohttp's errors into ours; the only place that knows them."""

    def __init__(self, url: str, call: Call) -> None:
        self._url = url
        self._call = call

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, TimeoutError):
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise ServerUnreachable(f"{self._url} does not answer.") from error
            raise TimedOut(
                f"{self._url} did not answer {self._call.method} {self._call.path} in time."
            ) from error
        if isinstance(error, aiohttp.ClientSSLError):
            raise ServerUnreachable(f"{self._url}: {_why_not_trusted(error.os_error)}") from error
        if isinstance(error, aiohttp.ClientConnectorError):
            raise ServerUnreachable(
                f"Cannot reach the server at {self._url}: {_why(error.os_error)}."
            ) from error
        if isinstance(error, aiohttp.TooManyRedirects | aiohttp.RedirectClientError):
            raise UnexpectedAnswer(
                f"{self._url} sends on to an address that cannot be asked: {_DOUBT}"
            ) from error
        if isinstance(error, aiohttp.ClientResponseError):
            raise UnexpectedAnswer(
                f"{self._url} answered with what is no HTTP that can be read: {_DOUBT}"
            ) from error
        if isinstance(error, aiohttp.ClientError | ConnectionError):
            words = " ".join(str(error).split())[:_WORDS].rstrip(".") or type(error).__name__
            raise ServerUnreachable(f"The connection to {self._url} was lost: {words}.") from error


def _why(error: OSError) -> str:
    """The system's words, without the address that asyncio adds to them."""
    # With several addresses (localhost has two) there is one text for all and no number.
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "connection refused"
    return (error.strerror or str(error)).split(" [")[0].rstrip(".")


def _why_not_trusted(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message.rstrip('.')}. SSL_CERT_FILE in "
            "the environment names a file (PEM) with the certificate that vouches for it."
        )
    return "it does not speak TLS on that port: is it http:// there?"


async def _refused(response: aiohttp.ClientResponse) -> ClientError:
    body = await response.content.read(_ERROR_BODY_LIMIT)
    while not response.content.at_eof() and len(body) < _ERROR_BODY_LIMIT:
        body += await response.content.read(_ERROR_BODY_LIMIT - len(body))
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return refusal(
        response.status,
        response.reason or "",
        document,
        _seconds(response.headers.get("Retry-After")),
    )


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; its other form, a date, is not sent by this server."""
    return float(text) if text is not None and text.strip().isdigit() else None


def _pause_s(attempt: int, asked_s: float | None) -> float:
    pause = _FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
    return min(_LONGEST_PAUSE_S, max(pause, asked_s or 0.0))


def _pairs(query: Query) -> list[tuple[str, str]]:
    """The query's pairs: lists repeat their name, None is left out."""
    pairs = []
    for name, value in query.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((name, _query_text(item)))
    return pairs


def _query_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
