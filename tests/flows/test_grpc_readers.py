"""Who leaves an answer of gRPC untaken: how long it is kept, and for whom the connection ends."""

import asyncio
import re

import numpy as np
import pytest
from yard_grpc import Client, grpc_target, request_of
from yard_grpc_sender import Sender
from yard_keys import make_key
from yard_waiting import wait_until

ONE = {"x": np.zeros(1, "float32")}
MIB = np.zeros(1 << 18, "float32")


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "shift", "--no-warm-start", "--grpc-port", "0"),
        *("--client-timeout", "5"),
    )
    server.wait_ready("shift")
    server.key = make_key(server.home, "reader", "predict", "read")
    wait_until(lambda: server.get("/v2/models/").status_code == 401)
    return server


def cut_off(server):
    told = server.get("/metrics", headers=server.key).text
    found = re.search(r'connections_cut_total{phase="answer"} (\S+)', told)
    return 0 if found is None else int(float(found[1]))


def call_of(server, sender, numbers, **more):
    message = request_of("shift", {"x": numbers}).SerializeToString()
    return sender.call(size=len(message), head=message, key=server.key, **more)


async def has_come(call, least):
    async with asyncio.timeout(60):
        while call.came < least:
            await asyncio.sleep(0.02)


def test_a_reader_who_takes_nothing_of_an_answer_is_cut_off_in_time(server):
    before = cut_off(server)

    async def read():
        async with Sender(grpc_target(server)) as sender:
            call = call_of(server, sender, MIB, takes=False)
            await has_come(call, 65_535)
            assert not sender.closed
            await asyncio.wait_for(call.ended, 60)
            return sender.closed, call.came

    assert asyncio.run(read()) == (True, 65_535)
    assert cut_off(server) == before + 1
    client = Client(grpc_target(server))
    assert client.infer("shift", ONE, metadata=[("authorization", server.key["Authorization"])])
    client.close()


def test_a_connection_that_takes_other_answers_goes_on_beside_one_that_stands_still(server):
    before = cut_off(server)

    async def read():
        async with Sender(grpc_target(server)) as sender:
            still = call_of(server, sender, MIB, takes=False)
            await has_come(still, 65_535)
            taken = 0
            for _ in range(20):
                other = call_of(server, sender, MIB[: 1 << 14])
                await asyncio.wait_for(other.ended, 30)
                taken += other.came > 1 << 16
                await asyncio.sleep(0.5)
            return taken, sender.closed, still.came

    assert asyncio.run(read()) == (20, False, 65_535)
    assert cut_off(server) == before
