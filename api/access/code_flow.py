"""Browsers sign in at the issuer: the authorization code flow with PKCE (OpenID Connect Core 1.0
section 3.1, RFC 7636, RFC 9207, RFC 9700). Runs in the front, on its loop.

Nothing is kept here of a sign-in that has begun: what its end is compared with stands in a cookie
of the browser, with a code of this process, so that strangers who begin many push nobody out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from ...errors import InvalidSettings, IssuerUnavailable
from ...settings.oidc import OidcSettings
from .claims import RefusedToken, check_id_token, name_of
from .issuer import Issuer, IssuerFault
from .patience import Patience
from .principal import Principal

BEGUN_S = 600
"""A person has so long to sign in there."""
_LONGEST_PATH = 1500
_CODES_AT_ONCE, _CODES_PER_S = 100, 2


class SignInRefused(Exception):
    """Nobody is signed in; the text says why, for the person at the browser."""


class Judge(Protocol):
    """Who knows tokens: `oidc.Tokens`."""

    def settled(self, token: str) -> Principal | None: ...
    async def looked_for(self, token: str) -> Principal | None: ...
    def refusal(self, token: str) -> str: ...
    async def signed(self, token: str) -> Mapping[str, Any]: ...


class Begun(NamedTuple):
    """Where the browser is sent to, and the cookie that it brings back."""

    address: str
    cookie: str


class CodeFlow:
    """Sign-in of browsers as the client `oidc_web_client_id`."""

    def __init__(self, settings: OidcSettings, issuer: Issuer, judge: Judge) -> None:
        """Raises InvalidSettings if the client's secret cannot be read."""
        assert settings.oidc_web_client_id is not None
        self._settings = settings
        self._client = settings.oidc_web_client_id
        self._secret = _secret_of(settings)
        self._issuer = issuer
        self._judge = judge
        self._seal = secrets.token_bytes(32)
        self._codes = Patience(_CODES_AT_ONCE, _CODES_PER_S)

    async def begin(self, redirect_uri: str, after: str) -> Begun:
        """`after`: the path of this server where the person wants to go.

        Raises IssuerUnavailable.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        address = await self._address("authorization_endpoint")
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": redirect_uri,
            "scope": _with_openid(self._settings.oidc_login_scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "audience": self._settings.oidc_audience[0],
        }
        kept = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "redirect_uri": redirect_uri,
            "after": after if len(after) <= _LONGEST_PATH else "",
            "until": time.time() + BEGUN_S,
        }
        joint = "&" if "?" in address else "?"
        return Begun(f"{address}{joint}{urlencode(asked)}", self._sealed(kept))

    async def finish(
        self, sent: Mapping[str, str], cookie: str, peer: str
    ) -> tuple[SignedIn, Principal, str]:
        """Whose browser came back with these query parameters, and where it wants to go.

        Raises SignInRefused and IssuerUnavailable.
        """
        begun = self._opened(cookie)
        if begun is None or not _same(sent.get("state", ""), str(begun["state"])):
            raise SignInRefused(
                "This sign-in was not begun in this browser, or more than ten minutes ago."
            )
        about = await self._about()
        if sent.get("iss", self._settings.oidc_issuer) != self._settings.oidc_issuer or (
            about.get("authorization_response_iss_parameter_supported") is True
            and "iss" not in sent
        ):
            raise SignInRefused("The answer is not from the issuer that was asked.")
        if "error" in sent:
            raise SignInRefused(f"The issuer refused: {_printable(sent)}.")
        if not self._codes.bears(peer):
            raise SignInRefused("Too many sign-ins came from your address. Wait a moment.")
        told = await self._ask(
            grant_type="authorization_code",
            code=sent.get("code", ""),
            redirect_uri=str(begun["redirect_uri"]),
            code_verifier=str(begun["verifier"]),
        )
        subject = await self._subject(told.get("id_token"), str(begun["nonce"]))
        signed_in = SignedIn(self, told)
        principal = await self.holder(signed_in.token)
        if principal is None:
            why = self._judge.refusal(signed_in.token)
            raise SignInRefused(f"The issuer gave no token that opens this server: {why}")
        if principal.name != name_of(subject, self._settings):
            raise SignInRefused("The issuer told of two people.")
        return signed_in, principal, str(begun["after"])

    async def renewed(self, refresh_token: str) -> Mapping[str, Any]:
        """Raises SignInRefused if the issuer gives nothing more for it, and IssuerUnavailable."""
        return await self._ask(grant_type="refresh_token", refresh_token=refresh_token)

    async def holder(self, token: str) -> Principal | None:
        """Who holds this access token. Raises IssuerUnavailable."""
        return self._judge.settled(token) or await self._judge.looked_for(token)

    # -- the issuer ---------------------------------------------------------------------------

    async def _about(self) -> Mapping[str, Any]:
        try:
            return await self._issuer.about()
        except IssuerFault as error:
            raise IssuerUnavailable(f"The issuer cannot be asked: {error}.", 5.0) from error

    async def _address(self, name: str) -> str:
        address = (await self._about()).get(name)
        try:
            return self._issuer.checked(address)
        except IssuerFault as error:
            raise IssuerUnavailable(
                f"The issuer does not tell of a {name} that can be used.", 60.0
            ) from error

    async def _ask(self, **form: str) -> Mapping[str, Any]:
        about, address = await self._about(), await self._address("token_endpoint")
        ways = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        in_form = isinstance(ways, list) and "client_secret_basic" not in ways
        client = (self._client, self._secret)
        try:
            status, told = await self._issuer.posted(address, form, client, in_form)
        except IssuerFault as error:
            raise IssuerUnavailable(f"The issuer cannot be asked: {error}.", 5.0) from error
        if status >= 500:
            raise IssuerUnavailable(f"The issuer answered {status}.", 5.0)
        if status != 200:
            raise SignInRefused(f"The issuer refused: {_printable(told)}.")
        if str(told.get("token_type", "")).lower() != "bearer":
            raise SignInRefused("The issuer gave no token that can be used.")
        return told

    async def _subject(self, id_token: object, nonce: str) -> str:
        """Of whom an ID token tells that was made for this sign-in (section 3.1.3.7)."""
        if not isinstance(id_token, str):
            raise SignInRefused("The issuer did not tell who you are (id_token).")
        try:
            claims = await self._judge.signed(id_token)
            return check_id_token(claims, self._settings, nonce, time.time())
        except RefusedToken as error:
            raise SignInRefused(f"The issuer's ID token was refused: {error}") from error

    # -- the cookie ---------------------------------------------------------------------------

    def _sealed(self, kept: Mapping[str, object]) -> str:
        # Without `=`, for which a cookie's value would be put into quotation marks.
        text = base64.urlsafe_b64encode(json.dumps(kept).encode()).rstrip(b"=").decode()
        return f"{text}.{self._code(text)}"

    def _opened(self, cookie: str) -> dict[str, object] | None:
        text, _, code = cookie.rpartition(".")
        if not _same(code, self._code(text)):
            return None
        kept: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=="))
        until = kept["until"]
        return kept if isinstance(until, float) and time.time() < until else None

    def _code(self, text: str) -> str:
        return hmac.new(self._seal, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class SignedIn:
    """One browser's sign-in: its access token, renewed when it has ended, if the issuer does so."""

    def __init__(self, flow: CodeFlow, told: Mapping[str, Any]) -> None:
        self._flow = flow
        self._name = ""
        self._renewing: asyncio.Task[None] | None = None
        self.token = ""
        self._refresh: str | None = None
        self._take(told)

    async def holder(self) -> Principal | None:
        """Who has signed in; None when the token has ended and is not renewed.

        Raises IssuerUnavailable.
        """
        found = await self._flow.holder(self.token)
        if found is None and self._refresh is not None:
            if self._renewing is None:  # of requests at the same time one asks
                self._renewing = asyncio.ensure_future(self._renew(self._refresh))
                self._renewing.add_done_callback(self._done)
            await asyncio.shield(self._renewing)
            found = await self._flow.holder(self.token)
        if found is None or (self._name and found.name != self._name):
            return None
        self._name = found.name
        return found

    async def _renew(self, refresh: str) -> None:
        try:
            self._take(await self._flow.renewed(refresh))
        except SignInRefused:
            self._refresh = None

    def _take(self, told: Mapping[str, Any]) -> None:
        token, refresh = told.get("access_token"), told.get("refresh_token")
        self.token = token if isinstance(token, str) else ""
        if isinstance(refresh, str):
            self._refresh = refresh

    def _done(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # who asked has got it


def _same(sent: str, expected: str) -> bool:
    """Compared in a time that does not tell how far it is right."""
    return hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode())


def _secret_of(settings: OidcSettings) -> str | None:
    path = settings.oidc_web_secret_file
    if path is None:
        return None
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        told = f"The secret cannot be read (--oidc-web-secret-file): {error}"
        raise InvalidSettings(told, {"oidc_web_secret_file": [told]}) from error
    if not text:
        told = f"{path} (--oidc-web-secret-file) is empty: write the client's secret into it."
        raise InvalidSettings(told, {"oidc_web_secret_file": [told]})
    return text


def _with_openid(scopes: str) -> str:
    return scopes if "openid" in scopes.split() else f"openid {scopes}".strip()


def _printable(told: Mapping[str, Any]) -> str:
    """What an issuer says of a refusal (RFC 6749 sections 4.1.2.1 and 5.2)."""
    parts = [told.get(name) for name in ("error", "error_description")]
    text = ": ".join(part for part in parts if isinstance(part, str) and part) or "no reason given"
    return "".join(one if one.isprintable() else "?" for one in text[:300]).rstrip(".")
