"""Settings of sign-in with OpenID Connect: whose tokens are taken, what their holders may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields

from ..addresses import is_loopback_host
from .fields import LocalPath, NameList, Text, about

PERMISSIONS = ("read", "predict", "train", "manage")
ANYBODY = "anybody"
_HOLDER = re.compile(r"(scope|group|subject):\S(.*\S)?|" + ANYBODY)
_MODEL = re.compile(r"model:([A-Za-z0-9][A-Za-z0-9._-]{0,99})")
_FORM = (
    'Write "group:NAME" (or "scope:NAME", "subject:SUB", "anybody") = "read predict", with '
    '"model:NAME" for some models only.'
)


class Grant(NamedTuple):
    """What some may do; `models` None: with every model."""

    permissions: frozenset[str]
    models: frozenset[str] | None


@dataclass(frozen=True)
class OidcSettings:
    """Sign-in by tokens of `oidc_issuer`; None: there is none."""

    oidc_issuer: str | None = None
    oidc_audience: tuple[str, ...] = ()
    oidc_permissions: Mapping[str, Grant] = field(default_factory=lambda: MappingProxyType({}))
    oidc_groups_claim: str = "groups"
    oidc_name_claim: str = "preferred_username"
    oidc_clients: tuple[str, ...] = ()
    oidc_client_id: str | None = None
    oidc_login_scopes: str = "openid profile"
    oidc_web_client_id: str | None = None
    oidc_web_secret_file: Path | None = None


class IssuerUrl(fields.String):
    """The issuer's name, which is an address: https, or http on this machine."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text: str = super()._deserialize(value, *args, **kwargs)
        try:
            parts = urlsplit(text)
            host = parts.hostname
        except ValueError:
            parts, host = urlsplit(""), None
        if not host or parts.query or parts.fragment or parts.username or not text.isprintable():
            raise ValidationError("Not an issuer: write its address, as its tokens have it in iss.")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback_host(host)):
            raise ValidationError("An issuer has an https address; http is for one on loopback.")
        return text


class GrantTable(fields.Field):
    """What scopes, groups and subjects may do: a table, or as text entries divided by commas.

    Loaded as `{holder: Grant}`. As text: `group:ml=read predict train,scope:yard=read`.
    """

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            value = _table(value)
        if not isinstance(value, Mapping):
            raise ValidationError(_FORM)
        return MappingProxyType({str(key): _grant(str(key), words) for key, words in value.items()})


def _table(text: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for part in text.split(","):
        holder, sign, words = (piece.strip() for piece in part.rpartition("="))
        if not sign:
            raise ValidationError(f"{part.strip()!r} gives nobody anything. {_FORM}")
        if holder in table:
            raise ValidationError(f"{holder} is named twice: write all it may do once.")
        table[holder] = words
    return table


def _grant(holder: str, value: Any) -> Grant:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValidationError(f"{holder}: {_FORM}")
    if _HOLDER.fullmatch(holder) is None:
        raise ValidationError(f"{holder!r} is nobody. {_FORM}")
    models = [match[1] for word in words if (match := _MODEL.fullmatch(word))]
    permissions = [word for word in words if not word.startswith("model:")]
    wrong = [word for word in permissions if word not in PERMISSIONS]
    wrong += [word for word in words if word.startswith("model:") and word[6:] not in models]
    if wrong or not permissions:
        told = f"{wrong[0]!r} is no permission." if wrong else "No permission is named."
        raise ValidationError(f"{holder}: {told} There are {', '.join(PERMISSIONS)}. {_FORM}")
    return Grant(frozenset(permissions), frozenset(models) or None)


class OidcSettingsSchema(Schema):
    """The settings of `OidcSettings` as files, variables and flags give them."""

    oidc_issuer = IssuerUrl(
        metadata=about(
            "OpenID Connect issuer whose tokens callers may show, such as "
            "https://id.example/realms/lab; needs the extra oidc"
        ),
    )
    oidc_audience = NameList(
        Text(),
        metadata=about("audience that a token has to be for (aud): this server's name there"),
    )
    oidc_permissions = GrantTable(
        metadata=about(
            "what holders of tokens may do, as group:NAME=read predict,scope:NAME=train "
            "(see docs/access.md)"
        ),
    )
    oidc_groups_claim = Text(
        metadata=about("claim with a token's groups; a.b is the member b of a"),
    )
    oidc_name_claim = Text(
        metadata=about("claim with a person's name, for the audit log"),
    )
    oidc_clients = NameList(
        Text(),
        metadata=about("clients that a token may have been given to (azp); default: any"),
    )
    oidc_client_id = Text(
        metadata=about("public client at the issuer for modelyard login (RFC 8628)"),
    )
    oidc_login_scopes = Text(
        metadata=about("scopes that modelyard login and browsers ask for, divided by spaces"),
    )
    oidc_web_client_id = Text(
        metadata=about(
            "client at the issuer as which browsers sign in (authorization code with PKCE); "
            "default: they show a key"
        ),
    )
    oidc_web_secret_file = LocalPath(
        metadata=about("file with that client's secret, if it is no public client"),
    )
