"""Signing in to a server whose callers show tokens of an issuer: device authorization (RFC 8628).

The person opens an address on any device and types a code; meanwhile the issuer is asked again and
again. No password passes through here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .credentials import Credential, CredentialStore
from .errors import ClientError, NotPermitted, ServerUnreachable, TimedOut, UnexpectedAnswer
from .issuer import IssuerSession, check_safe

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL_S = 5.0
_SLOWER_S = 5.0
_LONGEST_S = 1800.0
_EARLY_S = 30.0
"""A token is renewed so long before it expires."""


class Challenge(NamedTuple):
    """What to show to the person: an address, and the code to type there."""

    address: str
    code: str
    complete_address: str | None
    lasts_s: float


async def sign_in(
    resource: Mapping[str, Any],
    show: Callable[[Challenge], None],
    client_id: str | None = None,
) -> Credential:
    """What the issuer gives when the person has said yes.

    `resource` is what the server tells of itself (RFC 9728). Raises ClientError's family:
    NotPermitted if they said no, TimedOut if they said nothing.
    """
    servers = resource.get("authorization_servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], str):
        raise ClientError(
            "This server takes API keys only: ask who runs it for one, then "
            "`modelyard login --key`."
        )
    client_id = client_id or resource.get("modelyard_client_id")
    if not isinstance(client_id, str):
        raise ClientError(
            "The server does not tell as which client to sign in: give --client-id, or let its "
            "operator set oidc_client_id."
        )
    async with IssuerSession() as session:
        about = await session.about(servers[0])
        token_endpoint = _address(about, "token_endpoint")
        began = time.monotonic()
        status, told = await session.ask(
            "POST",
            _address(about, "device_authorization_endpoint"),
            client_id=client_id,
            scope=_text(resource.get("modelyard_scopes")),
            audience=_text(resource.get("modelyard_audience")),
        )
        if status != 200:
            raise NotPermitted(f"{servers[0]} refused: {_refusal(told, status)}.")
        code = _text(told.get("device_code"))
        challenge = _challenge(told)
        if code is None:
            raise UnexpectedAnswer("The issuer gave no device code.")
        show(challenge)
        interval = _seconds(told.get("interval"), _INTERVAL_S)
        given = await _poll(
            session, token_endpoint, client_id, code, interval, began + challenge.lasts_s
        )
        return _credential(
            given,
            Credential(
                "",
                token_endpoint=token_endpoint,
                revocation_endpoint=_text(about.get("revocation_endpoint")),
                issuer=servers[0],
                client_id=client_id,
            ),
        )


async def _poll(
    session: IssuerSession,
    token_endpoint: str,
    client_id: str,
    code: str,
    interval_s: float,
    until: float,
) -> Mapping[str, Any]:
    """RFC 8628 sections 3.4 and 3.5."""
    while time.monotonic() + interval_s < until:
        await asyncio.sleep(interval_s)
        try:
            status, told = await session.ask(
                "POST", token_endpoint, grant_type=_GRANT, device_code=code, client_id=client_id
            )
        except ServerUnreachable:
            interval_s *= 2
            continue
        if status == 200:
            return told
        error = told.get("error")
        if error == "slow_down":
            interval_s += _SLOWER_S
        elif error == "access_denied":
            raise NotPermitted("The sign-in was refused.")
        elif error == "expired_token":
            break
        elif error != "authorization_pending":
            raise UnexpectedAnswer(f"The sign-in failed: {_refusal(told, status)}.")
    raise TimedOut("The code has expired before anybody typed it. Sign in again.")


async def renewed(url: str, store: CredentialStore) -> Credential | None:
    """What to show to the server at this address now: what is stored, renewed if it is about to
    expire and can be. None: nothing is stored.

    Raises NotPermitted if the issuer does not renew it.
    """
    found = store.find(url)
    if found is None or not _needs_renewal(found):
        return found
    lock = store.locked()
    await asyncio.to_thread(lock.__enter__)  # issuers take a refresh token once: one of us uses it
    try:
        found = store.find(url)
        if found is None or not _needs_renewal(found):
            return found
        assert found.token_endpoint is not None
        async with IssuerSession() as session:
            status, told = await session.ask(
                "POST",
                found.token_endpoint,
                grant_type="refresh_token",
                refresh_token=found.refresh_token,
                client_id=found.client_id,
            )
        if status != 200:
            raise NotPermitted(
                f"Your sign-in has ended ({_refusal(told, status)}): run `modelyard login`.", 401
            )
        new = _credential(told, found)
        store.put(url, new)
        return new
    finally:
        lock.__exit__(None, None, None)


async def end(credential: Credential) -> None:
    """Tells the issuer that a refresh token is not needed any more (RFC 7009), if it can be told.

    Raises ClientError's family.
    """
    token = credential.refresh_token or credential.token
    if credential.revocation_endpoint is not None and credential.client_id is not None:
        async with IssuerSession() as session:
            await session.ask(
                "POST", credential.revocation_endpoint, token=token, client_id=credential.client_id
            )


def _needs_renewal(found: Credential) -> bool:
    expires = found.expires_at is not None and time.time() > found.expires_at - _EARLY_S
    return expires and found.refresh_token is not None and found.token_endpoint is not None


def _credential(told: Mapping[str, Any], before: Credential) -> Credential:
    token, kind = _text(told.get("access_token")), str(told.get("token_type", "")).lower()
    if token is None or kind != "bearer" or not token.isascii() or not token.isprintable():
        raise UnexpectedAnswer("The issuer gave no token that can be used.")
    lasts_s = told.get("expires_in")
    return Credential(
        token,
        expires_at=time.time() + lasts_s if isinstance(lasts_s, int | float) else None,
        refresh_token=_text(told.get("refresh_token")) or before.refresh_token,
        token_endpoint=before.token_endpoint,
        revocation_endpoint=before.revocation_endpoint,
        issuer=before.issuer,
        client_id=before.client_id,
    )


def _challenge(told: Mapping[str, Any]) -> Challenge:
    address, code = _text(told.get("verification_uri")), _text(told.get("user_code"))
    if address is None or code is None or not code.isprintable():
        raise UnexpectedAnswer("The issuer gave no address and code.")
    check_safe(address)
    complete = _text(told.get("verification_uri_complete"))
    if complete is not None:
        check_safe(complete)
    lasts_s = min(_LONGEST_S, _seconds(told.get("expires_in"), _LONGEST_S))
    return Challenge(address, code, complete, lasts_s)


def _address(about: Mapping[str, Any], name: str) -> str:
    found = _text(about.get(name))
    if found is None:
        raise ClientError(f"The issuer has no {name}: it does not offer this way to sign in.")
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: Any, default: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if good else default


def _refusal(told: Mapping[str, Any], status: int) -> str:
    text = _text(told.get("error_description")) or _text(told.get("error")) or str(status)
    return "".join(one if one.isprintable() else "?" for one in text[:200])
