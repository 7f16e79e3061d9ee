"""Refusals, lost connections, timeouts and retries."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from modelyard.client import (
    ArgumentsRefused,
    AsyncClient,
    Busy,
    ClientError,
    Conflict,
    NotFound,
    NotPermitted,
    NotSupported,
    RequestRefused,
    ServerFailed,
    ServerUnreachable,
    TimedOut,
)
from modelyard.client.transport import Timeouts

MODELS = "/v2/models/"
TRAIN = "/v2/models/m/train/"
RECORD = {"uuid": "r", "status": "running"}


def problem(status: int, detail: str, **more):
    return status, {"status": status, "detail": detail, "message": detail, **more}


async def lose(request: web.Request) -> web.StreamResponse:
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRefused),
        (403, NotPermitted),
        (404, NotFound),
        (409, Conflict),
        (413, RequestRefused),
        (500, ServerFailed),
        (501, NotSupported),
        (504, ServerFailed),
    ],
)
async def test_a_refusal_carries_status_and_message(server, client, status, kind):
    server.on("POST", "/v2/models/m/predict/", problem(status, "Because.", error_type="KeyError"))
    with pytest.raises(ClientError) as caught:
        await client.predict("m")
    assert type(caught.value) is kind
    assert (caught.value.status, str(caught.value)) == (status, "Because.")
    assert caught.value.details["error_type"] == "KeyError"


async def test_refused_arguments_carry_the_messages_of_each(server, client):
    server.on("POST", TRAIN, (422, {"epochs": ["Too few."], "list": {"0": ["Not a number."]}}))
    with pytest.raises(ArgumentsRefused) as caught:
        await client.train("m")
    assert caught.value.errors == {"epochs": ["Too few."], "list": {"0": ["Not a number."]}}
    assert str(caught.value) == "epochs: Too few.; list: 0: Not a number."
    assert len(server.seen) == 1


async def test_get_and_delete_are_tried_again_after_a_lost_connection(server, client):
    server.on("GET", MODELS, lose, lose, {"models": []})
    assert await client.models() == []
    server.on("DELETE", TRAIN + "r", lose, RECORD)
    assert (await client.cancel("m", "r")).id == "r"


async def test_train_is_repeated_with_one_and_the_same_key(server, client, tmp_path):
    (tmp_path / "data.zip").write_bytes(b"zip" * 1000)
    bodies = []

    def then(answer):
        async def read(request: web.Request) -> web.StreamResponse:
            form = await request.post()
            bodies.append(form["archive"].file.read())
            return await answer(request)

        return read

    async def later(request: web.Request) -> web.Response:
        return web.json_response({"detail": "Not now."}, status=503)

    async def record(request: web.Request) -> web.Response:
        return web.json_response(RECORD)

    server.on("POST", TRAIN, then(lose), then(later), then(record))
    await client.train("m", files={"archive": tmp_path / "data.zip"})
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1
    assert bodies == [b"zip" * 1000] * 3


async def test_predict_is_never_repeated(server, client):
    server.on("POST", "/v2/models/m/predict/", lose)
    with pytest.raises(ServerUnreachable):
        await client.predict("m")
    server.on("POST", "/v2/models/m/predict/", problem(503, "Later."))
    with pytest.raises(Busy, match="Later"):
        await client.predict("m")
    assert len(server.seen) == 2


async def test_retries_end(server, client):
    server.on("GET", MODELS, problem(503, "Never."))
    with pytest.raises(Busy):
        await client.models()
    assert len(server.seen) == 3


async def test_retry_after_is_obeyed_and_told(server, client):
    async def later(request: web.Request) -> web.Response:
        return web.json_response(
            {"status": 503, "detail": "Wait."}, status=503, headers={"Retry-After": "1"}
        )

    server.on("GET", MODELS, later, {"models": []})
    begun = asyncio.get_running_loop().time()
    await client.models()
    assert asyncio.get_running_loop().time() - begun >= 1
    server.on("POST", "/v2/models/m/predict/", later)
    with pytest.raises(Busy) as caught:
        await client.predict("m")
    assert caught.value.retry_after_s == 1


async def test_nobody_listening_is_one_clear_line():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with AsyncClient(url) as client:
        with pytest.raises(ServerUnreachable) as caught:
            await client.models()
    assert str(caught.value) == f"Cannot reach the server at {url}: connection refused."


async def test_an_address_that_is_none_is_told():
    for url in ("localhost:5000", "ftp://host", "http://", ""):
        with pytest.raises(ServerUnreachable, match="no address"):
            AsyncClient(url)


async def test_a_slow_server_is_timed_out(server):
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    server.on("GET", MODELS, slow)
    async with AsyncClient(server.url, timeouts=Timeouts(total_s=0.3)) as client:
        with pytest.raises(TimedOut):
            await client.models()


async def test_waiting_for_readiness_tells_what_is_missing(server, client):
    server.on("GET", "/readyz", problem(503, "Not ready: m (importing)."), {"status": "ready"})
    assert not await client.is_ready("m")
    await client.wait_ready("m", timeout_s=2)
    server.on("GET", "/readyz", problem(503, "Not ready: m (importing)."))
    with pytest.raises(TimedOut, match=r"importing"):
        await client.wait_ready("m", timeout_s=0.2)


async def test_answer_cut_off_in_the_middle_is_an_error(server, client, tmp_path):
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        request.transport.abort()
        return response

    server.on("POST", "/v2/models/m/predict/", half)
    with pytest.raises(ServerUnreachable):
        await client.predict("m", save_to=tmp_path / "answer")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "answer", "call"),
    [
        ("/v2/models/m/weights/aliases/production/rollback",
         {"name": "production", "version": "v", "versions": []},
         lambda c: c.roll_back("m")),
        ("/v2/models/m/weights/v/link", {"url": "u", "expires_at": "t", "by": "server"},
         lambda c: c.share_link("m", "v")),
        ("/v2/models/m/train/r/resume", RECORD, lambda c: c.resume("m", "r")),
    ],
)  # fmt: skip
async def test_what_creates_is_sent_again_with_the_same_key(server, client, path, answer, call):
    server.on("POST", path, lose, answer)
    await call(client)
    keys = [one.headers.get("idempotency-key") for one in server.seen]
    assert len(keys) == 2 and keys[0] and keys[0] == keys[1]
