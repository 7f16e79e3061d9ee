"""How many connections there may be, in all and of one address; and whom a proxy speaks for."""

import asyncio
import contextlib
import socket
import time

import pytest

from modelyard.api.metrics import Metrics
from modelyard.api.port.addresses import Addresses
from modelyard.api.port.pace import Pace
from modelyard.api.port.roster import Roster
from modelyard.settings import Settings


class Peer(asyncio.BaseTransport):
    """A transport of which nothing but the other side's address matters."""

    def __init__(self, address):
        super().__init__({"peername": (address, 1)})


class Visitor:
    pace = Pace()

    def phase(self):
        return None


@pytest.fixture
async def roster():
    settings = Settings(max_connections=40, client_connections=4)
    roster = Roster(settings, Metrics([]), Addresses(["192.0.2.0/24"]))
    yield roster
    roster.close()


def let_in(roster, address, count=5):
    """Those of so many that may stay, and what the first that may not is told."""
    inside, told = [], None
    for _ in range(count):
        told = roster.refusal(Peer(address))
        if told is not None:
            break
        inside.append(Visitor())
        roster.enter(inside[-1], Peer(address))
    return inside, told


@pytest.mark.parametrize("address", ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1"])
async def test_one_address_has_so_many_connections_and_gets_their_places_back(roster, address):
    inside, told = let_in(roster, address)
    assert len(inside) == 4 and "client_connections" in told
    assert roster.refusal(Peer("203.0.113.10")) is None
    roster.leave(inside[0])
    roster.leave(inside[0])
    assert len(let_in(roster, address)[0]) == 1


async def test_a_whole_network_of_ipv6_is_one_client(roster):
    for last in range(4):
        assert let_in(roster, f"2001:db8::{last:x}", 1)[1] is None
    assert let_in(roster, "2001:db8::ffff:1", 1)[1] is not None
    assert let_in(roster, "2001:db8:0:1::1", 1)[1] is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.77"])
async def test_this_machine_and_trusted_proxies_are_many_clients_but_not_endless(roster, address):
    inside, told = let_in(roster, address, 100)
    assert len(inside) == 40 and "max_connections" in told


PROXIES = Addresses(["192.0.2.0/24", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("192.0.2.1", "198.51.100.1, 192.0.2.2", "198.51.100.1"),
        ("192.0.2.1", "192.0.2.3, 192.0.2.2", "192.0.2.3"),
        ("192.0.2.1", "198.51.100.1:4321", "198.51.100.1"),
        ("192.0.2.1", '"[2001:db8::5]:80"', "2001:db8::5"),
        ("2001:db8::1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("192.0.2.1", "198.51.100.1, nonsense", "192.0.2.1"),
        ("not an address", "198.51.100.1", "not an address"),
    ],
)
def test_only_what_a_trusted_proxy_wrote_is_believed(peer, forwarded, client):
    assert PROXIES.client_of(peer, forwarded) == client


def test_one_connection_too_many_is_told_so_and_closed(start_server):
    server = start_server("--model-name", "bare", "--no-warm-start", "--max-connections", "20")
    server.wait_ready("bare")
    port = int(server.url.rsplit(":", 1)[1])
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        more = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        more.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while piece := more.recv(65536):
            got += piece
    assert got.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in got
    assert b"Connection: close" in got and b"max_connections" in got
    assert b"Server: modelyard" in got
    until = time.monotonic() + 60
    while server.get("/healthz").status_code != 200:  # it has not seen that they have gone
        assert time.monotonic() < until
        time.sleep(0.1)
    assert 'refused_total{why="full"}' in server.get("/metrics").text
