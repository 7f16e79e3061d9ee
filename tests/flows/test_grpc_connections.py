"""Connections to the gRPC port: how many there may be, and which are cut off."""

import socket
import struct
import time

import pytest
from yard_grpc import Client, grpc_target
from yard_grpc_sender import PING, PREFACE, SETTINGS, frame

MOST = 20


@pytest.fixture(scope="module")
def server(serve_module):
    return serve_module(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0"),
        *("--max-connections", str(MOST), "--client-timeout", "2", "--idle-timeout", "2"),
    )


def opened(server):
    host, _, port = grpc_target(server).rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    return connection


def is_closed(connection, limit_s=0.0):
    """True if the server ends it in that time, whatever it says before."""
    until = time.monotonic() + limit_s
    while True:
        connection.settimeout(max(0.001, until - time.monotonic()))
        try:
            if not connection.recv(65_536):
                return True
        except TimeoutError:
            if time.monotonic() >= until:
                return False
        except ConnectionError:
            return True


def answering(connection, seconds):
    """Speaks HTTP/2 for so long: settings, and an answer to each ping."""
    connection.settimeout(0.1)
    came, until, pings = b"", time.monotonic() + seconds, 0
    while time.monotonic() < until:
        try:
            came += connection.recv(65_536)
        except TimeoutError:
            continue
        while len(came) >= 9 and len(came) >= 9 + int.from_bytes(came[:3], "big"):
            end = 9 + int.from_bytes(came[:3], "big")
            kind, flags = came[3], came[4]
            if kind == PING and not flags:
                pings += 1
                connection.sendall(frame(PING, 1, 0, came[9:end]))
            came = came[end:]
    return pings


@pytest.mark.slow
def test_no_more_connections_than_were_set_and_others_when_those_have_gone(server):
    connections = [opened(server) for _ in range(MOST + 10)]
    for connection in connections:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
    until = time.monotonic() + 30
    while (closed := sum(is_closed(one) for one in connections)) < 10:
        assert time.monotonic() < until, f"{closed} were closed"
    for connection in connections:
        connection.close()
    until = time.monotonic() + 60
    while True:
        client = Client(grpc_target(server), **{"grpc.use_local_subchannel_pool": 1})
        try:
            assert client.check() == "SERVING"
            return
        except Exception:
            assert time.monotonic() < until
        finally:
            client.close()


@pytest.mark.slow
def test_who_says_nothing_and_who_has_vanished_are_cut_off(server):
    silent, gone, here = opened(server), opened(server), opened(server)
    for connection in (gone, here):
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0))
    assert answering(here, 10) >= 2
    assert is_closed(silent, 60) and is_closed(gone, 60)
    here.sendall(frame(PING, 0, 0, struct.pack(">Q", 7)))
    assert not is_closed(here, 0.5)
    for connection in (silent, gone, here):
        connection.close()
