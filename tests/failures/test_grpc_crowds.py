"""Crowds that send long messages by gRPC: what they cost the front, with a key and without.

The sample has some of them; `make test-slow` as many as the promise says, and prints the figures.
"""

import asyncio
import re
import time
from collections import Counter

import numpy as np
import pytest
from yard_grpc import Client, grpc_target, request_of
from yard_grpc_sender import METHOD, Sender
from yard_keys import make_key
from yard_waiting import wait_until

from .crowds import peak_of, pss_mb

FULL = pytest.mark.slow
UNASKED_MB = 0.0656
"""What HTTP/2 lets a client send of a message before anybody has asked for it."""
CALL_MB = 0.1
"""What a call costs besides, with its part of a connection."""
UNREAD_MB = 134
"""What all may leave of their answers; of each gRPC and its allocator have two or three."""
UNTAKEN = 65_535
"""Bytes of an answer that HTTP/2 lets anybody send of it."""
REST_MB = 32
"""What the libraries keep of what they have had in hand."""


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0", "--log-level", "error"),
        *("--queue-size", "64M", "--predict-timeout", "60"),
    )
    server.wait_ready("shift")
    server.key = make_key(server.home, "sender", "predict", "read")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def statuses(server):
    told = server.get("/metrics", headers=server.key).text
    pattern = (
        rf'requests_total{{method="GRPC",model="[^"]*",route="{METHOD}",status="(\d+)"}} (\S+)'
    )
    found = Counter()
    for status, count in re.findall(pattern, told):
        found[status] += int(float(count))
    return found


def cut_off(server):
    told = server.get("/metrics", headers=server.key).text
    found = re.search(r'connections_cut_total{phase="answer"} (\S+)', told)
    return 0 if found is None else int(float(found[1]))


async def sending(server, connections, calls, size, **more):
    """So many calls on each of so many connections, at once; what was sent of each, in bytes."""
    senders = [Sender(grpc_target(server)) for _ in range(connections)]
    for sender in senders:
        await sender.__aenter__()
    try:
        sent = [sender.call(size=size, **more) for sender in senders for _ in range(calls)]
        await asyncio.wait_for(asyncio.gather(*(call.ended for call in sent)), 300)
        return [call.sent for call in sent]
    finally:
        for sender in senders:
            await sender.__aexit__()


def small(server):
    client = Client(grpc_target(server))
    try:
        metadata = [("authorization", server.key["Authorization"])]
        return client.infer("shift", {"x": np.zeros(1, "float32")}, metadata=metadata)
    finally:
        client.close()


@pytest.mark.parametrize(("connections", "calls"), [(10, 6), pytest.param(20, 10, marks=FULL)])
def test_long_messages_without_a_key_cost_next_to_nothing(server, connections, calls):
    count, size = connections * calls, 32 << 20
    bound = count * (UNASKED_MB + CALL_MB) + REST_MB
    assert small(server).outputs
    before, counted = pss_mb(server), statuses(server)
    most, sent = asyncio.run(peak_of(server, sending(server, connections, calls, size)))
    print(f"strangers: {count} messages of 32 MiB; front {before:.0f} to {most:.0f} MB (bound "
          f"{bound:.0f}), {max(sent)} bytes taken of one at most")  # fmt: skip
    assert len(sent) == count and (statuses(server) - counted)["401"] == count
    assert most - before < bound
    assert small(server).outputs


@pytest.mark.parametrize(
    ("connections", "calls", "mib"), [(4, 5, 4), pytest.param(20, 10, 32, marks=FULL)]
)
def test_long_messages_beyond_the_queue_are_refused_and_bounded(server, connections, calls, mib):
    """One caller's: five are received at once, three times in hand while they are unpacked, and 64
    MiB wait for the model, of which as much again may be on its way to it."""
    count, numbers = connections * calls, np.zeros(mib << 18, "float32")
    message = request_of("shift", {"x": numbers}, seconds=0.2, do="first").SerializeToString()
    size, head = len(message), message[: -numbers.nbytes]
    bound = 5 * 3 * mib + 2 * (64 + mib) + count * (UNASKED_MB + CALL_MB) + REST_MB
    assert small(server).outputs
    before, began, counted = pss_mb(server), time.monotonic(), statuses(server)
    work = sending(server, connections, calls, size, head=head, key=server.key)
    most, sent = asyncio.run(peak_of(server, work))
    ended = statuses(server) - counted
    print(f"a caller's: {count} messages of {mib} MiB in {time.monotonic() - began:.0f} s: {ended};"
          f" front {before:.0f} to {most:.0f} MB (bound {bound:.0f})")  # fmt: skip
    assert ended["200"] >= 2 and set(ended) <= {"200", "503"} and len(sent) == count
    assert most - before < bound
    assert small(server).outputs
    assert list((server.home / "tmp" / "calls").iterdir()) == []


def test_messages_that_were_refused_are_let_go_at_once(server):
    """Of 160 that name no model: they used to be kept until the garbage collector came by."""
    numbers = np.zeros(1 << 20, "float32")
    message = request_of("nobody", {"x": numbers}).SerializeToString()
    head = message[: -numbers.nbytes]
    assert small(server).outputs
    before, counted = pss_mb(server), statuses(server)
    more = {"size": len(message), "head": head, "key": server.key}
    for _ in range(8):
        asyncio.run(sending(server, 2, 10, **more))
    after = pss_mb(server)
    print(f"refused: 160 messages of 4 MiB; front {before:.0f} to {after:.0f} MB")
    assert (statuses(server) - counted)["404"] == 160
    assert after - before < 5 * 3 * 4 + 2 * REST_MB


@pytest.mark.parametrize(("connections", "calls"), [(10, 8), pytest.param(100, 10, marks=FULL)])
def test_answers_that_nobody_takes_have_a_bound_together(server, connections, calls):
    """4 MiB each, of which 64 KiB are taken, one connection's calls after another's."""
    numbers = np.zeros(1 << 20, "float32")
    message = request_of("shift", {"x": numbers}).SerializeToString()
    more = {"size": len(message), "head": message[: -numbers.nbytes], "key": server.key}
    assert small(server).outputs

    async def crowd():
        senders = [Sender(grpc_target(server)) for _ in range(connections)]
        try:
            for sender in senders:
                await sender.__aenter__()
                mine = [sender.call(takes=False, **more) for _ in range(calls)]
                async with asyncio.timeout(60):
                    while not all(call.came >= UNTAKEN or call.ended.done() for call in mine):
                        await asyncio.sleep(0.02)
            return sum(sender.closed for sender in senders)
        finally:
            for sender in senders:
                await sender.__aexit__()

    before, cut = pss_mb(server), cut_off(server)
    most, closed = asyncio.run(peak_of(server, crowd()))
    print(f"unread: {connections * calls} answers of 4 MiB; {closed} of {connections} connections "
          f"cut off; front {before:.0f} to {most:.0f} MB")  # fmt: skip
    assert closed >= connections - UNREAD_MB // (calls * 4) - 2
    assert cut_off(server) - cut >= closed
    assert most - before < 4 * UNREAD_MB + connections * calls * CALL_MB + REST_MB
    assert small(server).outputs


@pytest.mark.slow
def test_a_thousand_slow_messages_are_cut_in_time_and_other_callers_are_served(server):
    """Of one key: some are received, and cut; the others wait for a place in vain."""
    other = make_key(server.home, "other", "predict")
    seconds = []

    async def others(client):
        body = request_of("shift", {"x": np.zeros(1, "float32")})
        while True:
            began = time.monotonic()
            metadata = [("authorization", other["Authorization"])]
            await asyncio.to_thread(client.method("ModelInfer"), body, 30, metadata)
            seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    async def crowd():
        client = Client(grpc_target(server))
        asking = asyncio.create_task(others(client))
        try:
            return await sending(server, 100, 10, 32 << 20, key=server.key, stalls=1 << 20)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            client.close()

    before, began, counted = pss_mb(server), time.monotonic(), statuses(server)
    most, sent = asyncio.run(peak_of(server, crowd()))
    took, ended = time.monotonic() - began, statuses(server) - counted
    seconds.sort()
    print(
        f"slow messages: {len(sent)}, all ended after {took:.0f} s: {ended}; others' calls "
        f"{len(seconds)}, p50 {seconds[len(seconds) // 2] * 1000:.0f} ms, p99 "
        f"{seconds[int(0.99 * len(seconds))] * 1000:.0f} ms; front {before:.0f} to {most:.0f} MB"
    )
    assert ended["408"] >= 5 and ended["408"] + ended["503"] == len(sent)
    assert len(seconds) > 50
    assert most - before < 1000 * (UNASKED_MB + CALL_MB) + REST_MB
