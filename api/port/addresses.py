"""Sets of addresses, and whom a request comes from when a trusted proxy passed it on. Pure.

A proxy adds the address that it saw at the end of X-Forwarded-For; what stands before was the
client's to invent. So the header is read from its end, past proxies that are trusted, up to the
first that is not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Addresses:
    """Addresses and networks, as the settings name them."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def has(self, text: str) -> bool:
        """The same for a text, which may be no address."""
        address = _address(text)
        return address is not None and address in self

    def client_of(self, peer: str, forwarded: str) -> str:
        """The client's address: `peer`, or what trusted proxies told in X-Forwarded-For."""
        client = peer
        for text in reversed(forwarded.split(",")):
            if not self.has(client):
                break
            address = _address(text)
            if address is None:  # nothing that a proxy of ours would have written
                break
            client = str(address)
        return client


def _address(text: str) -> Address | None:
    """Without a port, brackets and zone; an IPv4 address in IPv6's form is that address."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
