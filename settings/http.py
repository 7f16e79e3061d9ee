"""Settings of the port: who may connect, how long they may take, what stands before the server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields

from .fields import LocalPath, NameList, about
from .numbers import Amount, Count, Size

ANY_ORIGIN = "*"


@dataclass(frozen=True)
class PortSettings:
    """What `Settings` says of the port. Times are in seconds, sizes in bytes."""

    max_connections: int = 10_000
    client_connections: int = 1_000
    client_timeout: float = 30.0
    client_rate: int = 256
    idle_timeout: float = 75.0
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    public_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


class Origin(fields.String):
    """A web site as browsers name it in `Origin`: `https://host` or `https://host:port`, or `*`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs).strip()
        if text == ANY_ORIGIN:
            return text
        parts = _parts(text)
        if parts is None or parts.path not in ("", "/") or "*" in parts.netloc:
            raise ValidationError(
                f"{text!r} is not an origin: write it like https://example.org, each name by "
                "itself, or *."
            )
        # Browsers leave out the port that goes without saying (RFC 6454, section 6.2).
        usual = {"http": ":80", "https": ":443"}[parts.scheme]
        return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}".lower()


class Network(fields.String):
    """An address or a network such as `192.0.2.0/24`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs).strip()
        try:
            return str(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise ValidationError(
                f"{text!r} is not an address: write it like 192.0.2.1 or 192.0.2.0/24."
            ) from error


class PublicUrl(fields.String):
    """The address of the server's root as clients see it, without a last slash."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs).strip().rstrip("/")
        if _parts(text) is None:
            raise ValidationError(
                f"{text!r} is not the address of a server: write it like https://example.org/yard."
            )
        return text


def _parts(text: str) -> Any:
    """The parts of an http address without user, query and fragment; None if it is none."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  a bad port raises here
    except ValueError:
        return None
    more = parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        return None
    return parts


_WAITING = (1, 86_400)
"""Seconds."""


class PortSettingsSchema(Schema):
    """The part of `SettingsSchema` that loads `PortSettings`."""

    max_connections = Count(
        1,
        metadata=about("connections at the same time; more are told 503 and closed"),
    )
    client_connections = Count(
        0,
        metadata=about(
            "connections of one address (of IPv6 one /64) at the same time, loopback and trusted "
            "proxies excepted; 0 is no limit"
        ),
    )
    client_timeout = Amount(
        *_WAITING,
        metadata=about(
            "seconds in which a request's head has to be complete, and after which a body or an "
            "answer that does not get on by client-rate is cut off"
        ),
    )
    client_rate = Size(
        zero="cuts off only those that stand still",
        metadata=about(
            "bytes a second that a client has to send of its body, or to take of its answer; 0 "
            "cuts off only those that stand still"
        ),
    )
    idle_timeout = Amount(
        *_WAITING,
        metadata=about("seconds until a connection without a request is closed"),
    )
    allowed_origins = NameList(
        Origin(),
        metadata=about(
            "other web sites whose pages may call this server (CORS), such as "
            "https://example.org; divide by commas; * is every site, without cookies"
        ),
    )
    trusted_proxies = NameList(
        Network(),
        metadata=about(
            "addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are "
            "believed; divide by commas"
        ),
    )
    public_url = PublicUrl(
        metadata=about(
            "address of this server as clients see it, such as https://example.org/yard, for "
            "links that leave it"
        )
    )
    tls_cert = LocalPath(
        metadata=about("file of the certificate and its chain (PEM): the port speaks TLS")
    )
    tls_key = LocalPath(
        metadata=about("file of the certificate's key (PEM), if it is not in the same file")
    )
