"""More calls than a model can answer: refused at the door, soon and with a time to come again."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import aiohttp
import pytest

SLOW = {"seconds": 0.1}


@pytest.fixture(scope="module")
def server(serve_module):
    server = serve_module(
        *("--model-name", "batcher,bare"),
        *("--queue-items", "3", "--queue-size", "2M"),
    )
    for model in ("batcher", "bare"):
        server.wait_ready(model)
    return server


def together(server, count, **call):
    async def ask_all():
        url = f"{server.url}/v2/models/batcher/predict/"
        async with aiohttp.ClientSession() as session:

            async def ask(number):
                began = time.monotonic()
                async with session.post(url, json={"n": number, **call}) as answer:
                    body = await answer.json()
                    return answer.status, dict(answer.headers), body, time.monotonic() - began

            return await asyncio.gather(*(ask(number) for number in range(count)))

    return asyncio.run(ask_all())


def test_what_cannot_wait_is_refused_at_once_and_told_when_to_come_again(server):
    for _ in range(3):
        server.predict("batcher", json=SLOW)
    answers = together(server, 18, seconds=0.3)
    refused = [answer for answer in answers if answer[0] == 503]
    served = [answer[2]["predictions"]["n"] for answer in answers if answer[0] == 200]
    assert len(served) >= 3 and len(refused) >= 4
    assert {answer[0] for answer in answers} == {200, 503}
    _, headers, body, seconds = refused[-1]
    slowest = max(answer[3] for answer in answers if answer[0] == 200)
    assert 1 <= int(headers["Retry-After"]) <= 10
    assert body["type"] == "urn:modelyard:busy" and "wait for this model" in body["detail"]
    assert seconds < slowest / 2
    assert all(
        answer[2]["predictions"]["n"] == n for n, answer in enumerate(answers) if answer[0] == 200
    )


def test_a_large_body_is_refused_before_it_is_read(server):
    busy = ThreadPoolExecutor(5)
    try:
        waiting = [busy.submit(server.predict, "batcher", json={"seconds": 0.5}) for _ in range(2)]
        time.sleep(0.2)
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname, parts.port), 10) as connection:
            head = (
                f"POST /v2/models/batcher/predict/ HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n{"
            )
            connection.sendall(head.encode())
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert all(future.result().status_code == 200 for future in waiting)
    finally:
        busy.shutdown()


def test_one_client_may_have_so_many_calls_and_no_more(serve_module):
    server = serve_module("--model-name", "batcher", "--client-calls", "4")
    server.wait_ready("batcher")
    answers = together(server, 30, seconds=0.05)
    statuses = [answer[0] for answer in answers]
    assert statuses.count(200) >= 4 and set(statuses) == {200, 429}
    _, headers, body, _ = answers[statuses.index(429)]
    assert headers["Retry-After"] == "1" and "client_calls" in body["detail"]
    assert server.predict("batcher").status_code == 200
