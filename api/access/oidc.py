"""Tokens of an OpenID Connect issuer: who their holders are. Runs in the front, on its loop.

A token that was verified is known by its hash until it expires, or the issuer's keys change. The
keys are fetched in the background and kept while the issuer is down; a key that is not known is
asked for, at most every `_AGAIN_S`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...errors import IssuerUnavailable
from ...settings.oidc import OidcSettings
from .claims import RefusedToken, check_claims, principal_of_claims
from .code_flow import CodeFlow
from .issuer import Issuer, IssuerFault
from .patience import Patience
from .principal import Principal
from .signatures import BadToken, SigningKeys, UnknownKey, read_header, unverified_claims

log = logging.getLogger(__name__)

_FRESH_S = 600.0
"""After so long the keys are fetched again: one that is withdrawn is not known for longer."""
_STALE_S = 86_400.0
"""An issuer that was down for so long may have withdrawn any key."""
_AGAIN_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_WAIT_S = 3.0
"""A request whose token's key is being asked for waits so long."""
_KEPT = 10_000
_REFUSED = 1_000
_REFUSED_S = 5.0
_TOLD_AT_ONCE, _TOLD_PER_S = 20, 0.2
BAD = "The token that was sent is not valid."


class _Kept(NamedTuple):
    principal: Principal
    until: float


class Tokens:
    """The tokens of the issuer of the settings. `changed` is called when what was known may not
    hold any more."""

    def __init__(self, settings: OidcSettings, changed: Callable[[], None]) -> None:
        assert settings.oidc_issuer is not None
        self._settings = settings
        self._changed = changed
        self._issuer = Issuer(settings.oidc_issuer)
        self._keys: SigningKeys | None = None
        self._fetched_at = self._asked_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S
        self._down = False
        self._fetching: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._soonest = float("inf")
        self._overflowed = False
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._telling = Patience(_TOLD_AT_ONCE, _TOLD_PER_S)
        offered = settings.oidc_web_client_id is not None
        self.flow = CodeFlow(settings, self._issuer, self) if offered else None

    async def open(self) -> None:
        """Begins to fetch the keys; the server does not wait for them."""
        self._refreshing = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        tasks = [task for task in (self._refreshing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._issuer.close()

    @staticmethod
    def is_one(text: str) -> bool:
        """Whether it has the form of a token (RFC 7515 section 7.1)."""
        return text.count(".") == 2

    def settled(self, token: str) -> Principal | None:
        """Who holds it, as far as that is known without asking the issuer."""
        try:
            return self._holder(token)
        except (UnknownKey, IssuerUnavailable):
            return None

    async def looked_for(self, token: str) -> Principal | None:
        """The same, and asks the issuer for a key that is not known. Raises IssuerUnavailable."""
        try:
            return self._holder(token)
        except (UnknownKey, IssuerUnavailable):
            pass
        if not self._seems_ours(token):
            return None
        await self._ask()
        try:
            return self._holder(token)
        except UnknownKey:
            if self._down:  # it may have such a key by now
                raise self._unavailable() from None
            return None

    async def signed(self, token: str) -> Mapping[str, Any]:
        """The claims of what the issuer has signed, of which nothing else was looked at.

        Raises RefusedToken and IssuerUnavailable.
        """
        raw = token.encode("utf-8", "surrogateescape")
        for ask in (True, False):
            keys = self._usable_keys()
            try:
                if keys is not None:
                    return keys.verified(raw)
            except BadToken as error:
                raise RefusedToken("it is not valid.") from error
            except UnknownKey:
                pass
            if ask:
                await self._ask()
        if keys is None or self._down:
            raise self._unavailable()
        raise RefusedToken("none of the issuer's keys has signed it.")

    def refusal(self, token: str) -> str:
        """Why it is not valid, as far as its sender may know: more if the issuer has signed it."""
        found = self._refused.get(_digest(token))
        return BAD if found is None else found[1]

    def review(self) -> None:
        """Forgets the tokens that have expired; called once a second.

        Whoever keeps an answer asks anew then, and when one was forgotten for want of room: its end
        would not be seen here.
        """
        now = time.time()
        if now < self._soonest and not self._overflowed:
            return
        self._overflowed = False
        for digest in [digest for digest, kept in self._kept.items() if kept.until <= now]:
            del self._kept[digest]
        self._soonest = min((kept.until for kept in self._kept.values()), default=float("inf"))
        self._changed()

    # -- tokens -------------------------------------------------------------------------------

    def _holder(self, token: str) -> Principal | None:
        """Raises UnknownKey, IssuerUnavailable."""
        digest = _digest(token)
        kept = self._kept.get(digest)
        if kept is not None and time.time() < kept.until:
            self._kept.move_to_end(digest)
            return kept.principal
        refused = self._refused.get(digest)
        if refused is not None and time.monotonic() < refused[0]:
            return None
        keys = self._usable_keys()
        if keys is None:
            raise self._unavailable()
        try:
            claims = keys.verified(token.encode("utf-8", "surrogateescape"))
            until = check_claims(claims, self._settings, time.time())
        except BadToken as error:
            self._refuse(digest, BAD, str(error))
            return None
        except RefusedToken as error:
            self._refuse(digest, str(error), str(error))
            return None
        principal = principal_of_claims(claims, self._settings)
        self._keep(digest, _Kept(principal, until))
        return principal

    def _keep(self, digest: bytes, kept: _Kept) -> None:
        self._kept[digest] = kept
        self._soonest = min(self._soonest, kept.until)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
            self._overflowed = True

    def _refuse(self, digest: bytes, told: str, why: str) -> None:
        self._refused[digest] = (time.monotonic() + _REFUSED_S, told)
        if len(self._refused) > _REFUSED:
            self._refused.popitem(last=False)
        if self._telling.bears(""):
            log.info("a token was refused: %s", why)

    def _seems_ours(self, token: str) -> bool:
        """Whether it is worth a question: what is plainly not from the issuer is not."""
        try:
            raw = token.encode("utf-8", "surrogateescape")
            read_header(raw)
            return unverified_claims(raw).get("iss") == self._settings.oidc_issuer
        except BadToken:
            return False

    # -- keys ---------------------------------------------------------------------------------

    def _usable_keys(self) -> SigningKeys | None:
        stale = time.monotonic() - self._fetched_at > _STALE_S
        return None if stale else self._keys

    def _unavailable(self) -> IssuerUnavailable:
        return IssuerUnavailable(retry_after_s=5.0)

    async def _ask(self) -> None:
        """Fetches the keys, unless that was tried a moment ago; waits for it, but not for long."""
        if self._fetching is None or self._fetching.done():
            if time.monotonic() - self._asked_at < (_AGAIN_S if self._keys else _FIRST_PAUSE_S):
                return
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.wait([self._fetching], timeout=_WAIT_S)

    async def _refresh(self) -> None:
        while True:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch())
            await asyncio.wait([self._fetching])
            if self._down:
                self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
                await asyncio.sleep(self._pause_s)
            else:
                self._pause_s = _FIRST_PAUSE_S
                await asyncio.sleep(_FRESH_S)

    async def _fetch(self) -> None:
        self._asked_at = time.monotonic()
        try:
            keys = SigningKeys(await self._issuer.key_set())
        except asyncio.CancelledError:
            raise
        except Exception as error:  # also what nobody thought of: it is to go on asking
            if not isinstance(error, IssuerFault | ValueError):
                log.exception("the keys of %s cannot be fetched", self._issuer.name)
            elif not self._down:
                log.error("the keys of %s cannot be had: %s", self._issuer.name, error)
            self._down = True
            return
        self._fetched_at, self._down = time.monotonic(), False
        before, self._keys = self._keys, keys
        if before is None or before.thumbprints != keys.thumbprints:
            log.info("keys of %s: %d", self._issuer.name, len(keys.thumbprints))
            self._kept.clear()
            self._refused.clear()
            self._soonest = float("inf")
            self._changed()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
