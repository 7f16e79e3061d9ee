"""SIGTERM: what was asked is answered, nothing new is taken, and no process is left."""

import asyncio
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import requests
from talk import Talk, chunked, post
from yard_grpc import Client, grpc_target
from yard_waiting import wait_until


@pytest.fixture
def server(start_server):
    server = start_server("--model-name", "batcher")
    server.wait_ready("batcher")
    return server


async def load(server, clients, after_s, **call):
    """Clients that ask until they cannot connect; (answered, lost) once SIGTERM was sent."""
    answered, lost = [], []
    url = f"{server.url}/v2/models/batcher/predict/"

    async def ask(session, number):
        while True:
            try:
                async with session.post(url, json={"n": number, **call}) as answer:
                    body = await answer.json()
            except aiohttp.ClientConnectorError:
                return  # refused: nothing was sent
            except aiohttp.ClientError as error:
                lost.append(repr(error))
                return
            assert answer.status == 200 and body["predictions"]["n"] == number, body
            answered.append(number)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asking = [asyncio.ensure_future(ask(session, number)) for number in range(clients)]
        await asyncio.sleep(after_s)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)
    return answered, lost


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_no_accepted_request_is_lost_when_the_server_is_stopped_under_load(server, seconds):
    answered, lost = asyncio.run(load(server, 16, 1.0, seconds=seconds))
    assert server.process.wait(10) == 0
    assert len(answered) > 30
    assert lost == []


def test_a_long_call_is_answered_after_sigterm_and_the_server_is_not_ready_meanwhile(server):
    answers = []

    def ask():
        answers.append(server.predict("batcher", json={"n": 1, "seconds": 2}))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    pids = [w["pid"] for w in server.get("/v2/models/batcher/").json()["workers"]]
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    with suppress(requests.ConnectionError):
        answer = requests.get(f"{server.url}/readyz", timeout=5)
        assert (answer.status_code, answer.headers["Connection"]) == (503, "close")
    asking.join()
    assert answers[0].status_code == 200
    assert server.process.wait(10) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_nobody_keeps_the_server_from_stopping_by_half_a_head(start_server):
    limits = ("--stop-timeout", "100", "--client-timeout", "100")
    server = start_server("--model-name", "batcher", *limits)
    with Talk(server) as talk:
        talk.send(b"POST /v2/models/batcher/predict/ HTTP/1.1\r\nHost: localhost\r\n")
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_what_takes_longer_than_the_limit_is_given_up(start_server):
    server = start_server("--model-name", "batcher", "--stop-timeout", "1")
    server.wait_ready("batcher")
    failed = []

    def ask():
        try:
            failed.append(server.predict("batcher", json={"seconds": 30}).status_code)
        except requests.ConnectionError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(25) == 0
    assert time.monotonic() - began < 20
    asking.join()
    assert len(failed) == 1 and failed != [200]


@pytest.mark.slow
def test_stop_timeout_is_one_time_for_all_that_is_under_way_by_whatever_way_it_came(start_server):
    """Twice as long would be the time of HTTP after that of gRPC, or of one way after another."""
    limit = 20
    server = start_server(
        *("--model-name", "batcher,shift", "--stop-timeout", str(limit), "--grpc-port", "0"),
        *("--predict-timeout", "600"),
    )
    for model in ("batcher", "shift"):
        server.wait_ready(model)
    call, path = b'{"seconds": 300}', "/v2/models/batcher/predict/"
    client = Client(grpc_target(server))
    with (
        Talk(server) as lane,
        Talk(server) as framework,
        Talk(server) as lines,
        Talk(server) as body,
    ):
        lane.send(post(path, call))
        framework.send(chunked(path, call))
        lines.send(chunked(path, call + b"\n", kind="application/x-ndjson"))
        body.send(post(path, b"{" + b" " * 1000)[:-500])
        by_grpc = client.begin("shift", {"x": np.zeros(1, "float32")}, timeout=600, seconds=300.0)
        wait_until(lambda: under_way(server, "batcher") >= 3 and under_way(server, "shift") >= 1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0
        took = time.monotonic() - began
    assert by_grpc.exception() is not None
    client.close()
    assert limit <= took < 2 * limit, took


def under_way(server, model):
    """Items that wait for the model or are with it."""
    line = rf'^modelyard_(?:queue|worker)_items{{model="{model}"}} (\d+)'
    return sum(int(count) for count in re.findall(line, server.get("/metrics").text, re.M))
