"""Which addresses are on this machine, or in a private network; which ones URLs may lead to.

Told by how they are written: nothing here looks up a name. Python 3.8 syntax: models' own
interpreters read it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Tuple, Union  # noqa: UP035 - Python 3.8

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]  # noqa: UP007
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]  # noqa: UP007
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that stand for IPv4 ones: RFC 6052."""
_NAME = re.compile(
    r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\Z"
)


def is_loopback_host(host: str | None) -> bool:
    """Whether it is `localhost` or a number of the loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def address_of(text: str) -> Address:
    """The address that a number means: of IPv6 ones that stand for an IPv4 one, that.

    Raises ValueError.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner
    return address


def is_public(address: Address) -> bool:
    """False for this machine, private networks, link-local ones (clouds' metadata), and groups."""
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global


@dataclass(frozen=True)
class UrlRule:
    """Where URLs that clients give may lead: `[models.NAME] urls`.

    `anywhere` allows all; `public` what `is_public`; `hosts` and `networks` are allowed too.
    """

    anywhere: bool = False
    public: bool = False
    hosts: Tuple[str, ...] = ()  # noqa: UP006
    networks: Tuple[Network, ...] = ()  # noqa: UP006

    @classmethod
    def parse(cls, text: str) -> UrlRule:
        """Of the words `any`, `public`, `none`, names of hosts and networks, divided by commas.

        Raises ValueError with a remedy.
        """
        words = [word.strip().lower() for word in text.split(",") if word.strip()]
        hosts, networks = [], []
        for word in words:
            if word in ("any", "public", "none"):
                continue
            try:
                networks.append(ipaddress.ip_network(word, strict=False))
                continue
            except ValueError:
                pass
            if not _NAME.match(word):
                raise ValueError(
                    f"{word!r} is neither public, none nor any, no name of a host "
                    "(data.example.org, *.example.org), and no network (192.0.2.0/24)."
                )
            hosts.append(word)
        if not words or (len(words) > 1 and ("any" in words or "none" in words)):
            raise ValueError("Write any or none alone, or public, names of hosts and networks.")
        return cls("any" in words, "public" in words, tuple(hosts), tuple(networks))

    def allows_host(self, name: str) -> bool:
        """True if it is named, so that its addresses do not matter."""
        name = name.rstrip(".").lower()
        return self.anywhere or any(
            name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in self.hosts
        )

    def allows_address(self, address: Address) -> bool:
        if self.anywhere or (self.public and is_public(address)):
            return True
        return any(address in network for network in self.networks)
