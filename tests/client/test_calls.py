"""What the client sends, and the typed results that it makes of answers."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy
import pytest
from aiohttp import web

from modelyard.client import Argument, AsyncClient, UnexpectedAnswer

RECORD = {
    "uuid": "a" * 32,
    "date": "2026-11-21 04:00:00.000000",
    "args": {"epochs": 2},
    "status": "running",
    "phase": "training",
    "progress": {"done": 1, "total": 2, "text": "epoch", "step": 30},
    "created_at": "2026-11-21T04:00:00Z",
    "links": {"self": "/v2/models/m/train/" + "a" * 32},
    "of_a_newer_server": True,
}


async def test_models_are_typed_and_keep_what_a_newer_server_adds(server, client):
    server.on(
        "GET",
        "/v2/models/",
        {
            "models": [
                {"id": "good", "state": "ready", "weights": "w1", "summary": "A model."},
                {"id": "bad", "state": "failed", "error": "ImportError: no such thing"},
            ]
        },
    )
    good, bad = await client.models()
    assert (good.name, good.state, good.weights, good.summary) == (
        "good",
        "ready",
        "w1",
        "A model.",
    )
    assert bad.error == "ImportError: no such thing"
    assert bad.weights is None


async def test_a_model_comes_with_its_arguments(server, client):
    server.on(
        "GET",
        "/v2/models/m/",
        {
            "id": "m",
            "description": "DEEPaaS has a text here.",
            "arguments": {
                "name": "m",
                "train_arguments": [
                    {"name": "epochs", "kind": "integer", "minimum": 1, "unknown": 1},
                    {"name": "image", "kind": "list", "items": {"name": "", "kind": "file"}},
                ],
                "predict_arguments": None,
            },
        },
    )
    model = await client.model("m")
    assert model.description is not None
    epochs, image = model.description.train_arguments
    assert epochs == Argument("epochs", "integer", minimum=1)
    assert image.is_file
    assert model.description.predict_arguments is None


async def test_arguments_travel_as_json_numpy_too(server, client):
    server.on("POST", "/v2/models/m/predict/", {"y": 1})
    await client.predict("m", {"x": numpy.arange(3), "flag": None}, query={"q": [1, "two"]})
    seen = server.seen[0]
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {"x": [0, 1, 2], "flag": None}
    assert seen.query == [("q", "1"), ("q", "two")]


async def test_arguments_travel_as_a_form_if_asked(server, client):
    server.on("POST", "/v2/models/m/train/", RECORD)
    await client.train("m", {"x": [1, 2], "text": "ä b"}, as_form=True)
    assert server.seen[0].headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert server.seen[0].body == b"x=%5B1%2C+2%5D&text=%C3%A4+b"


async def test_files_are_streamed_beside_arguments(server, client, tmp_path):
    picture = tmp_path / "bild größe.png"
    picture.write_bytes(b"\x89PNG" + bytes(3_000_000))
    mine = io.BytesIO(b"open file")
    parts = []

    async def read(request: web.Request) -> web.Response:
        form = await request.post()
        parts.extend(
            (name, value if isinstance(value, str) else (value.filename, value.file.read()))
            for name, value in form.items()
        )
        return web.json_response({})

    server.on("POST", "/v2/models/m/predict/", read)
    await client.predict(
        "m", {"k": 3, "names": ["a", "b"], "text": "t"}, files={"image": [picture, b"raw", mine]}
    )
    assert parts == [
        ("k", "3"),
        ("names", '["a", "b"]'),
        ("text", "t"),
        ("image", (picture.name, picture.read_bytes())),
        ("image", ("data", b"raw")),
        ("image", ("data", b"open file")),
    ]
    assert not mine.closed


async def test_missing_file_is_told_before_any_request(server, client, tmp_path):
    with pytest.raises(FileNotFoundError):
        await client.predict("m", files={"image": tmp_path / "none.png"})
    assert server.seen == []


async def test_prediction_tells_weights_and_saves_files_whole(server, client, tmp_path):
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["X-Modelyard-Weights"] == "latest"
        assert request.headers["Accept"] == "image/png"
        assert request.headers["X-Request-Timeout"] == "5"
        return web.Response(
            body=b"picture",
            content_type="image/png",
            headers={
                "X-Modelyard-Weights": "w7",
                "Content-Disposition": "attachment; filename*=UTF-8''..%2F..%2Fout.png",
            },
        )

    server.on("POST", "/v2/models/m/predict/", answer)
    saved = await client.predict(
        "m", weights="latest", accept="image/png", timeout_s=5, save_to=tmp_path / "here.png"
    )
    assert (saved.weights, saved.filename, saved.content) == ("w7", "out.png", b"")
    assert saved.path == tmp_path / "here.png"
    assert saved.path.read_bytes() == b"picture"
    assert [path.name for path in tmp_path.iterdir()] == ["here.png"]
    with pytest.raises(UnexpectedAnswer):
        saved.json()


async def test_a_model_name_stays_one_part_of_the_path(server, client):
    server.on("GET", "/v2/models/a%2Fb%20c%3F/", {"id": "a/b c?"})
    assert (await client.model("a/b c?")).name == "a/b c?"


async def test_a_run_is_typed_with_aware_times(server, client):
    server.on("POST", "/v2/models/m/train/", RECORD)
    run = await client.train("m", {"epochs": 2})
    assert run.id == "a" * 32
    assert not run.ended
    assert run.progress.step == 30
    assert run.created_at == datetime(2026, 11, 21, 4, tzinfo=UTC)
    assert run.data["of_a_newer_server"] is True


async def test_limited_list_follows_the_cursor(server, client):
    async def page(request: web.Request) -> web.Response:
        if request.query.get("cursor") is None:
            headers = {"Link": '<http://inner/v2/models/m/train/?limit=3&cursor=x%2B1>; rel="next"'}
            return web.json_response([RECORD, RECORD], headers=headers)
        assert request.query["cursor"] == "x+1"
        return web.json_response([RECORD, RECORD])

    server.on("GET", "/v2/models/m/train/", page)
    assert len(await client.runs("m", limit=3)) == 3


async def test_metrics_checkpoints_and_weights_are_typed(server, client):
    base = "/v2/models/m"
    server.on(
        "GET", f"{base}/train/r/metrics", {"series": {"loss": [[1, 9.0, None]]}, "last_step": 1}
    )
    server.on(
        "GET",
        f"{base}/train/r/checkpoints",
        {"last": 2, "best": 1, "items": [{"step": 1, "size": 5}]},
    )
    server.on(
        "GET",
        f"{base}/weights/",
        {"weights": [{"id": "w", "files": [{"path": "a", "size": 1, "sha256": "f"}], "size": 1}]},
    )
    metrics = await client.metrics("m", "r", names=["loss"], since=0)
    assert metrics.last() == {"loss": None}
    assert server.seen[0].query == [("name", "loss"), ("since", "0")]
    kept = await client.checkpoints("m", "r")
    assert (kept.best, kept.items[0].size) == (1, 5)
    (version,) = await client.weights("m")
    assert (version.model, version.files[0].path) == ("m", "a")


async def test_another_web_server_is_told_as_such(server, client):
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    server.on("GET", "/v2/models/", page)
    with pytest.raises(UnexpectedAnswer, match="no JSON"):
        await client.models()
    server.on("GET", "/v2/models/", [])
    with pytest.raises(UnexpectedAnswer, match="no list of models"):
        await client.models()


async def test_a_base_path_is_kept(server):
    server.on("GET", "/behind/proxy/v2/models/", {"models": []})
    async with AsyncClient(server.url + "/behind/proxy/") as client:
        assert await client.models() == []


def test_argument_file_paths_need_no_loop(tmp_path: Path):
    from modelyard.client.bodies import CallBody

    CallBody(files={"a": b""}).check()
