"""Weights versions from Python: named, changed, saved as files, taken in; runs that go on."""

from __future__ import annotations

import asyncio
import tarfile
import time

import pytest
import requests
from aiohttp import web

from modelyard.client import (
    ArgumentsRefused,
    AsyncClient,
    Client,
    Conflict,
    NotFound,
    RequestRefused,
    ServerUnreachable,
    UnexpectedAnswer,
)

MODEL = "counter"


@pytest.fixture(scope="module")
def yard(serve_module, tmp_path_factory):
    """A server with a shared store, and one without."""
    store = tmp_path_factory.mktemp("store")
    servers = (
        serve_module("--model-name", "counter,stepper", "--storage", str(store)),
        serve_module("--model-name", MODEL),
    )
    for server in servers:
        server.wait_ready(MODEL)
    return servers


@pytest.fixture(scope="module")
def client(yard):
    with Client(yard[0].url) as client:
        yield client


@pytest.fixture(scope="module")
def trained(client):
    """Two versions, the older first."""
    made = []
    for steps in (2, 3):
        run = client.wait(MODEL, client.train(MODEL, {"steps": steps}).id, timeout_s=60)
        assert run.succeeded, run
        made.append(run.weights)
    return made


def test_versions_come_in_pages_by_tag_and_with_their_labels(client, trained):
    older, newer = trained
    changed = client.change_weights(MODEL, older, tags=["paper"], notes="Good.")
    assert (changed.tags, changed.notes) == (("paper",), "Good.")
    assert client.change_weights(MODEL, older, notes=None).tags == ("paper",)
    assert client.weights_version(MODEL, older).notes is None
    assert [one.id for one in client.weights(MODEL)] == [newer, older]
    assert [one.id for one in client.weights(MODEL, tag="paper")] == [older]
    assert client.weights(MODEL, state="failed") == []
    page = client.weights_page(MODEL, limit=1)
    assert [one.id for one in page.items] == [newer]
    following = client.weights_page(MODEL, limit=1, cursor=page.cursor)
    assert [one.id for one in following.items] == [older] and following.cursor is None
    assert client.weights(MODEL, limit=1)[0].aliases == ("latest",)


def test_aliases_move_and_roll_back_and_what_they_name_is_kept(client, trained):
    older, newer = trained
    assert client.set_alias(MODEL, "production", older).version == older
    assert client.set_alias(MODEL, "production", newer).previous == older
    assert client.roll_back(MODEL).version == older
    assert {one.name for one in client.aliases(MODEL)} == {"latest", "production"}
    assert client.weights_version(MODEL, "production").id == older
    with pytest.raises(Conflict, match="production"):
        client.delete_weights(MODEL, older)
    client.remove_alias(MODEL, "production")
    with pytest.raises(NotFound):
        client.weights_version(MODEL, "production")


def test_an_alias_divides_calls_and_is_rolled_back_whole(client, trained):
    older, newer = trained
    client.set_alias(MODEL, "canary", older)
    divided = client.divide_alias(MODEL, "canary", {older: 90, newer: 10})
    assert divided.version == older and divided.weights == {older: 90, newer: 10}
    shadowed = client.divide_alias(MODEL, "canary", {older: 1}, shadow=newer, shadow_share=0.5)
    assert (shadowed.shadow, shadowed.shadow_share) == (newer, 0.5)
    assert client.roll_back(MODEL, "canary").weights == {older: 90, newer: 10}
    assert client.roll_back(MODEL, "canary").weights == {older: 1}
    client.remove_alias(MODEL, "canary")


def test_push_waits_for_the_store_and_pull_for_the_disk(client, yard, trained, serve_module):
    seen = []
    pushed = client.push_weights(MODEL, trained[0], timeout_s=30, watch=seen.append)
    assert pushed.state == "ready"
    assert client.push_weights(MODEL, trained[0]).stored, "there already"
    seen.clear()
    mended = client.push_weights(MODEL, trained[0], mend=True, watch=seen.append)
    assert mended.state == "ready" and seen[0].state == "publishing"
    empty = serve_module("--model-name", MODEL, *yard[0].flags[-2:])
    with Client(empty.url) as elsewhere:
        assert not elsewhere.weights_version(MODEL, trained[0]).local
        assert elsewhere.push_weights(MODEL, trained[0]).stored
        with pytest.raises(Conflict, match="server that has it"):
            elsewhere.push_weights(MODEL, trained[0], mend=True)
        assert elsewhere.pull_weights(MODEL, trained[0], watch=seen.append).local
        assert elsewhere.weights_version(MODEL, trained[0]).local
    empty.stop()
    with Client(yard[1].url) as alone:
        run = alone.wait(MODEL, alone.train(MODEL).id, timeout_s=60)
        with pytest.raises(Conflict, match="no shared store"):
            alone.push_weights(MODEL, run.weights)
        assert alone.pull_weights(MODEL, run.weights).local


def test_an_archive_goes_to_another_server_with_the_same_predictions(
    client, yard, trained, tmp_path
):
    path, told = tmp_path / "counter.tar.gz", []
    size = client.export_archive(
        MODEL, trained[1], path, progress=lambda done, total: told.append(done)
    )
    assert path.stat().st_size == size == told[-1]
    with tarfile.open(path) as archive:
        assert "MODEL_CARD.md" in " ".join(archive.getnames())
    told.clear()
    with Client(yard[1].url) as other:
        for _ in range(2):  # the second time it is there
            taken = other.import_archive(
                MODEL, path, progress=lambda done, total: told.append((done, total))
            )
            assert (taken.id, taken.origin) == (trained[1], "import")
        assert told[-1] == (size, size)
        answers = [
            one.predict(MODEL, {"plus": 5}, weights=trained[1]).json() for one in (client, other)
        ]
        assert answers[0] == answers[1]
        with pytest.raises(Conflict):
            client.import_archive("stepper", path)
        other.delete_weights(MODEL, taken.id)
        with pytest.raises(NotFound):
            other.weights_version(MODEL, taken.id)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(RequestRefused):
            other.import_archive(MODEL, path)


def test_links_cards_and_lineage(client, trained):
    link = client.share_link(MODEL, "latest", expires_s=60, format="zip")
    assert requests.get(link.url, timeout=10).content.startswith(b"PK")
    assert link.expires_at is not None and link.by == "server"
    assert client.model_card(MODEL, trained[0]).startswith("#")
    lineage = client.lineage(MODEL, trained[0])
    assert lineage.arguments["steps"] == 2
    assert lineage.environment["python"]
    assert client.exports(MODEL, "latest").items == ()
    with pytest.raises(ArgumentsRefused, match="onnx"):
        client.make_export(MODEL, "latest", "onnx")
    with pytest.raises(ArgumentsRefused, match="from 1 to 86400"):
        client.make_export(MODEL, "latest", "onnx", timeout_s=0.5)


def test_a_training_like_another_says_whether_it_came_to_the_same(client, trained):
    run = client.wait(MODEL, client.train(MODEL, like=trained[0]).id, timeout_s=60)
    assert (run.repeats, run.args["steps"]) == (trained[0], 2)
    assert "bit for bit" in run.message


def test_a_run_is_paused_goes_on_and_its_checkpoints_are_promoted(client, trained):
    run = client.train("stepper", {"steps": 100_000})
    deadline = time.monotonic() + 30

    def until(holds):
        while not holds(now := client.run("stepper", run.id)):
            assert time.monotonic() < deadline, now
            time.sleep(0.02)

    until(lambda now: (now.progress.step or 0) >= 6)
    client.pause("stepper", run.id)
    until(lambda now: now.phase == "paused")
    made = client.promote("stepper", run.id, "last")
    assert (made.origin, made.run) == ("promotion", run.id)
    assert client.resume("stepper", run.id).id == run.id
    client.cancel("stepper", run.id)
    client.wait("stepper", run.id, timeout_s=30)
    again = client.resume("stepper", run.id)
    assert (again.resumed_from, again.id != run.id) == (run.id, True)
    client.cancel("stepper", again.id)
    with pytest.raises(Conflict):
        client.resume(MODEL, client.weights_version(MODEL, trained[0]).run)


async def test_a_download_that_is_cut_off_or_spoilt_leaves_no_file(server, tmp_path):
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response

    async def spoilt(request: web.Request) -> web.Response:
        return web.Response(body=b"bytes", headers={"X-Content-SHA256": "0" * 64})

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        await asyncio.sleep(30)
        return response

    base, target = "/v2/models/m/weights/w", tmp_path / "here"
    server.on("GET", f"{base}/archive", cut, slow)
    server.on("GET", f"{base}/exports/onnx", spoilt)
    async with AsyncClient(server.url) as client:
        with pytest.raises(ServerUnreachable):
            await client.export_archive("m", "w", target)
        with pytest.raises(UnexpectedAnswer, match="other bytes"):
            await client.download_export("m", "w", "onnx", target)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.export_archive("m", "w", target)
    assert list(tmp_path.iterdir()) == []
