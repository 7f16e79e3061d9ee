"""Which messages are received by gRPC, of whom, and how many at once: others wait in HTTP/2."""

import asyncio
import re
import time
from contextlib import AsyncExitStack

import grpc
import numpy as np
import pytest
from yard_grpc import Client, grpc_target, pb, refusal
from yard_grpc_sender import CHECK, METHOD, Sender
from yard_keys import make_key
from yard_waiting import wait_until

ONE = {"x": np.zeros(1, "float32")}
LONG = 32 << 20
UNASKED = 65_535
"""Bytes of a message that HTTP/2 lets a client send before anybody has asked for it."""
OF_ONE = 5
"""Places that one caller may have, of 8: so many messages of 64 MiB are received at once."""
LIMIT_S = 2.5
"""Half of `--client-timeout 5`: nothing is cut before."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0"),
        *("--client-timeout", "5"),
    )
    server.wait_ready("shift")
    server.keys = {name: make_key(server.home, name, "predict", "read") for name in ("one", "two")}
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


@pytest.fixture
def client(server):
    client = Client(grpc_target(server))
    yield client
    client.close()


def metadata_of(key):
    return [("authorization", key["Authorization"])]


def counted(server, route, status):
    """Calls of this route that were ended so."""
    pattern = rf'requests_total{{method="GRPC",model="",route="{route}",status="{status}"}} (\S+)'
    found = re.search(pattern, server.get("/metrics", headers=server.keys["one"]).text)
    return 0 if found is None else int(float(found[1]))


async def until(condition, seconds=60.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        await asyncio.sleep(0.02)


def received(calls):
    """Those of which the server has asked for more."""
    return [call for call in calls if call.sent > UNASKED]


def over(calls):
    """Returns when the server has ended all of them."""
    return asyncio.wait_for(asyncio.gather(*(call.ended for call in calls)), 60)


def answered(client, key):
    """Calls of others are answered, also those that need no key."""
    assert client.infer("shift", ONE, metadata=metadata_of(key)).outputs
    assert client.check() == "SERVING" and client.call("ServerLive").live


def test_of_a_message_without_a_key_nothing_is_received(server):
    before = counted(server, METHOD, 401)

    async def strangers():
        async with Sender(grpc_target(server)) as sender:
            calls = [sender.call(size=LONG) for _ in range(20)]
            await over(calls)
            return calls

    calls = asyncio.run(strangers())
    assert max(call.sent for call in calls) <= UNASKED
    assert counted(server, METHOD, 401) == before + 20


def test_so_many_are_received_at_once_and_others_are_served_meanwhile(server, client):
    """Slow ones: they stop in the middle, and are cut off."""
    statuses = {status: counted(server, METHOD, status) for status in (408, 503)}

    async def slow():
        began = time.monotonic()
        async with Sender(grpc_target(server)) as sender:
            calls = [
                sender.call(size=LONG, key=server.keys["one"], stalls=1 << 20) for _ in range(20)
            ]
            await until(lambda: len(received(calls)) >= OF_ONE)
            await asyncio.to_thread(answered, client, server.keys["two"])
            at_once = len(received(calls))
            # Later the first are over, and others have their places.
            assert at_once == OF_ONE or time.monotonic() - began > LIMIT_S
            told = asyncio.to_thread(refusal, trickle, client, server.keys["two"])
            _, told = await asyncio.gather(over(calls), told)
            return calls, told

    calls, (code, said, trailers) = asyncio.run(slow())
    ended = {status: counted(server, METHOD, status) - n for status, n in statuses.items()}
    assert sum(ended.values()) == len(calls) + 1 and ended[408] >= OF_ONE + 1
    assert (code, trailers["modelyard-error"]) == ("CANCELLED", "too-slow")
    assert re.fullmatch(r"The message did not come within [\d.]+ s \(client_timeout\)\.", said)
    assert client.infer("shift", ONE, metadata=metadata_of(server.keys["one"])).outputs


def trickle(client, key):
    """A client that has begun, and sends nothing."""

    def messages():
        time.sleep(10)
        yield b""

    return client.channel.stream_unary(METHOD)(messages(), timeout=60, metadata=metadata_of(key))


def test_long_messages_where_no_key_is_needed_keep_nobody_out(server, client):
    """A name is expected there. A third one ends the first."""
    before = counted(server, CHECK, 503)

    async def strangers():
        async with AsyncExitStack() as opened:
            senders = [
                await opened.enter_async_context(Sender(grpc_target(server))) for _ in range(4)
            ]
            calls = [sender.call(CHECK, LONG, stalls=1 << 20) for sender in senders * 3]
            await asyncio.to_thread(answered, client, server.keys["two"])
            lives = [sender.call(METHOD.replace("ModelInfer", "ServerLive"), LONG)
                     for sender in senders]  # fmt: skip
            await until(lambda: sum(call.ended.done() for call in calls) >= 10)
            await over(lives)
            return lives

    lives = asyncio.run(strangers())
    assert max(call.sent for call in lives) <= UNASKED
    assert counted(server, CHECK, 503) >= before + 10


def test_clients_that_go_away_in_the_middle_leave_their_places(server, client):
    before = counted(server, METHOD, 499)

    async def leave():
        async with Sender(grpc_target(server)) as sender:
            calls = [
                sender.call(size=LONG, key=server.keys["one"], stalls=1 << 20)
                for _ in range(OF_ONE)
            ]
            await until(lambda: all(call.sent > UNASKED for call in calls))

    for _ in range(3):
        asyncio.run(leave())
        assert client.infer("shift", ONE, metadata=metadata_of(server.keys["one"])).outputs
    wait_until(lambda: counted(server, METHOD, 499) == before + 3 * OF_ONE)


def test_a_call_has_one_message(server, client):
    """None is refused; of several the first is taken, as gRPC's own servers do."""
    request = pb.ModelInferRequest(model_name="nobody").SerializeToString()
    method = client.channel.stream_unary(METHOD)
    more = {"timeout": 30, "metadata": metadata_of(server.keys["one"])}
    code, said, _ = refusal(method, iter([]), **more)
    assert (code, "there was none" in said) == ("UNIMPLEMENTED", True)
    assert refusal(method, iter([request, b"\xff" * 1000]), **more)[0] == "NOT_FOUND"
    watch = client.channel.stream_stream("/grpc.health.v1.Health/Watch")
    with pytest.raises(grpc.RpcError) as refused:
        next(watch(iter([]), timeout=30))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
