"""What a token says, as this server takes it: whether it is for us, and what its holder may do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...schemas.permissions import Permission
from ...settings.oidc import ANYBODY, OidcSettings
from .principal import Principal

LEEWAY_S = 30.0
"""By which clocks may differ."""
_MOST_NAMES = 1000
"""Groups or scopes of a token that are read."""
_LABEL_LENGTH = 100
_OF_OTHER_TOKENS = ("at_hash", "c_hash", "s_hash", "events")
"""Claims of ID tokens and of logout tokens, which some issuers give the same audience."""


class RefusedToken(Exception):
    """A genuine token that opens nothing here; the text says why, for its holder."""


def check_claims(claims: Mapping[str, Any], settings: OidcSettings, now_s: float) -> float:
    """The time (seconds since 1970) until which the token is good. Raises RefusedToken."""
    if claims.get("iss") != settings.oidc_issuer:
        raise RefusedToken("The token is from another issuer.")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(one in settings.oidc_audience for one in named if isinstance(one, str)):
        raise RefusedToken("The token is for another audience.")
    until = _time(claims, "exp")
    if until is None:
        raise RefusedToken("The token has no time at which it expires.")
    if now_s >= until + LEEWAY_S:
        raise RefusedToken("The token has expired.")
    for name in ("nbf", "iat"):
        since = _time(claims, name)
        if since is not None and since > now_s + LEEWAY_S:
            raise RefusedToken("The token is not valid yet.")
    _check_kind(claims)
    client = claims.get("azp", claims.get("client_id"))
    if settings.oidc_clients and client not in settings.oidc_clients:
        raise RefusedToken("The token was given to a client that may not use it here.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
        raise RefusedToken("The token does not say whose it is.")
    return until + LEEWAY_S


def _check_kind(claims: Mapping[str, Any]) -> None:
    kind = claims.get("typ", "Bearer")  # Keycloak's way to tell them apart
    if kind not in ("Bearer", "bearer", "JWT", "at+jwt") or any(
        name in claims for name in _OF_OTHER_TOKENS
    ):
        raise RefusedToken("This is no access token.")
    if "cnf" in claims:  # RFC 7800: of use only with a proof that we cannot check
        raise RefusedToken("The token is bound to a key of its holder, which is not supported.")


def check_id_token(
    claims: Mapping[str, Any], settings: OidcSettings, nonce: str, now_s: float
) -> str:
    """Whom an ID token tells of (`sub`) that was made for this `nonce` and our own client.

    OpenID Connect Core 1.0 section 3.1.3.7; its signature has been checked. Raises RefusedToken.
    """
    client = settings.oidc_web_client_id
    if claims.get("iss") != settings.oidc_issuer:
        raise RefusedToken("it is from another issuer.")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if client not in named or (len(named) > 1 and "azp" not in claims):
        raise RefusedToken("it is for another client.")
    if claims.get("azp", client) != client:
        raise RefusedToken("it is for another client.")
    until, since = _time(claims, "exp"), _time(claims, "iat")
    if until is None or since is None or not since - LEEWAY_S < now_s < until + LEEWAY_S:
        raise RefusedToken("it has expired, or is not valid yet.")
    if claims.get("nonce") != nonce:  # of what the issuer has signed: nobody can try it out
        raise RefusedToken("it is of another sign-in.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise RefusedToken("it does not say whose it is.")
    return subject


def principal_of_claims(claims: Mapping[str, Any], settings: OidcSettings) -> Principal:
    """Who holds a token that has been checked, and what the settings let them do."""
    subject = claims["sub"]
    holders = {ANYBODY, f"subject:{subject}"}
    holders |= {f"scope:{name}" for name in _scopes(claims)}
    holders |= {f"group:{name}" for name in _names(_claim(claims, settings.oidc_groups_claim))}
    grants = [grant for holder, grant in settings.oidc_permissions.items() if holder in holders]
    label = _claim(claims, settings.oidc_name_claim)
    return Principal.of_grants(
        name_of(subject, settings),
        [(frozenset(Permission(one) for one in g.permissions), g.models) for g in grants],
        label=_label(label),
        shown="token",
    )


def name_of(subject: str, settings: OidcSettings) -> str:
    """How the person is recorded whom the issuer calls `subject`."""
    assert settings.oidc_issuer is not None
    return f"oidc:{subject}@{settings.oidc_issuer.partition('://')[2]}"


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """RFC 9068's `scope`, divided by spaces; some issuers write a list, and some `scp`."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name)
        found |= set(value.split()[:_MOST_NAMES]) if isinstance(value, str) else _names(value)
    return found


def _names(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    listed: Iterable[Any] = value[:_MOST_NAMES] if isinstance(value, list) else ()
    return {one for one in listed if isinstance(one, str)}


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name (which may have dots: some are addresses), else by the names in it."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _label(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(one if one.isprintable() else "?" for one in text[:_LABEL_LENGTH])


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not whole or abs(value) > 1e12 or not math.isfinite(value):
        raise RefusedToken(f"The token has no time in {name}.")
    return float(value)
