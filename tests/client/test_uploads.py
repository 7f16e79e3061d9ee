"""Datasets that are sent to a real server, whole and in parts; uploads that are cut off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import zipfile

import pytest
from aiohttp import web

from modelyard.client import (
    ArgumentsRefused,
    AsyncClient,
    Client,
    Conflict,
    NotFound,
    Transfer,
)

PART = 8 << 20
TABLE = b"one,cat\ntwo,dog\n"


@pytest.fixture(scope="module")
def yard(serve_module):
    server = serve_module("--model-name", "reader", "--max-trainings", "1")
    server.wait_ready("reader")
    return server


@pytest.fixture
async def here(yard):
    async with AsyncClient(yard.url, reconnect_s=5) as client:
        yield client


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder that makes four parts."""
    top = tmp_path_factory.mktemp("large") / "large"
    (top / "more").mkdir(parents=True)
    draw = random.Random(5)
    (top / "labels.csv").write_bytes(TABLE)
    for name in ("a", "b"):
        (top / "more" / name).write_bytes(draw.randbytes(int(1.9 * PART)))
    return top


async def test_a_folder_and_an_archive_of_it_are_the_same_dataset(here, tmp_path):
    top = tmp_path / "pets"
    top.mkdir()
    (top / "labels.csv").write_bytes(TABLE)
    (top / "x.txt").write_bytes(b"x")
    told = []
    made = await here.add_dataset(top, progress=lambda *bytes_: told.append(bytes_))
    assert (made.reference, made.files, made.created) == ("pets@1", 2, True)
    assert made.statistics["counts"] == {"cat": 1, "dog": 1}
    assert made.problems == {"errors": 0, "warnings": 0}
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] > 0
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in top.iterdir():
            archive.write(path, path.name)
    again = await here.add_dataset(tmp_path / "pets.zip")
    assert (again.id, again.created) == (made.id, False)
    files = await here.add_dataset(sorted(top.iterdir()), name="files")
    assert files.digest == made.digest


async def test_an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_missing(
    yard, here, large, tmp_path
):
    memory = tmp_path / "memory"
    arrived = asyncio.Event()

    def cut(done: int, total: int) -> None:
        if done > 3 * PART:  # three are under way at once: one at least is whole
            arrived.set()

    # A connection of its own: what is under way breaks off with it.
    async with AsyncClient(yard.url) as other:
        upload = asyncio.ensure_future(
            other.add_dataset(large, parts_above=PART, memory=memory, progress=cut)
        )
        await asyncio.wait([upload, asyncio.ensure_future(arrived.wait())],
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert len(list(memory.iterdir())) == 1
    told, seen = [], []
    made = await here.add_dataset(
        large, parts_above=PART, memory=memory,
        progress=lambda done, total: told.append((done, total)), watch=seen.append,
    )  # fmt: skip
    assert (made.name, made.files, made.created) == ("large", 3, True)
    assert told[0][0] >= PART, "the parts that had come were not sent again"
    assert told[-1][0] == told[-1][1]
    assert seen[-1].state == "done"
    assert list(memory.iterdir()) == []
    whole = await here.add_dataset(large, name="whole")
    assert whole.digest == made.digest


async def test_changed_files_are_another_upload(yard, large, tmp_path):
    memory = tmp_path / "memory"
    path = tmp_path / "data.bin"
    path.write_bytes(random.Random(6).randbytes(2 * PART))
    began = asyncio.Event()
    async with AsyncClient(yard.url) as client:
        upload = asyncio.ensure_future(
            client.add_dataset(path, parts_above=PART, memory=memory,
                               progress=lambda done, total: began.set())
        )  # fmt: skip
        await began.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        path.write_bytes(bytes(2 * PART))
        made = await client.add_dataset(path, parts_above=PART, memory=memory)
    assert made.source["size"] == 2 * PART
    assert len(list(memory.iterdir())) == 1, "the other upload may still be wanted"


def test_a_client_without_a_loop_lists_reads_and_removes(yard, tmp_path):
    path = tmp_path / "faulty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.csv", "one,cat\nnothing\n")
    with Client(yard.url) as client:
        made = client.add_dataset(path)
        assert made.problems == {"errors": 1, "warnings": 0}
        (problem,) = client.dataset_report("faulty").problems
        assert (problem.file, problem.line) == ("labels.csv", 2)
        assert client.dataset("faulty@1").id == made.id
        assert [one.id for one in client.datasets(name="faulty")] == [made.id]
        assert len(client.datasets(limit=1)) == 1
        run = client.wait("reader", client.train("reader", dataset="faulty").id)
        assert (run.status, run.dataset) == ("done", made.id)
        with pytest.raises(ArgumentsRefused, match="no dataset"):
            client.train("reader", dataset="none")
        client.remove_dataset("faulty@1")
        with pytest.raises(NotFound):
            client.dataset("faulty")


async def test_a_damaged_archive_is_refused_and_leaves_no_upload(here, tmp_path):
    path = tmp_path / "damaged.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(2 * PART))
    with pytest.raises(Exception, match="damaged") as refused:
        await here.add_dataset(path, parts_above=PART, memory=tmp_path / "memory")
    assert not isinstance(refused.value, Conflict)
    assert list((tmp_path / "memory").iterdir()) == []


async def test_what_is_too_large_for_one_request_goes_in_parts_over_lost_connections(
    server, client, tmp_path
):
    path = tmp_path / "data.zip"
    path.write_bytes(b"x" * 10)
    base, got = "/v2/datasets/uploads", {}
    upload = {"id": "u", "size": 10, "part_size": 6, "part_count": 2, "state": "receiving"}

    async def lost(request: web.Request) -> web.Response:
        request.transport.abort()
        return web.Response()

    async def part(request: web.Request) -> web.Response:
        body = await request.read()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert request.headers["Content-Digest"] == f"sha-256=:{digest}:"
        got[request.path[-1]] = body
        return web.Response(status=204)

    ingesting = {**upload, "state": "ingesting", "progress": {"done": 4, "total": 10}}
    server.on("POST", "/v2/datasets/", (413, {"status": 413, "detail": "Too large."}))
    server.on("POST", f"{base}/", (201, upload))
    server.on("PUT", f"{base}/u/parts/1", lost, lost, lost, lost, part)
    server.on("PUT", f"{base}/u/parts/2", (503, {"status": 503}), part)
    server.on("POST", f"{base}/u/complete", lost, (202, ingesting))
    server.on("GET", f"{base}/u", ingesting, {**upload, "state": "done", "dataset": "d"})
    server.on("GET", "/v2/datasets/d", {"id": "d", "name": "data"})
    told, seen = [], []
    made = await client.add_dataset(
        path, memory=tmp_path / "memory", watch=seen.append,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert (made.id, made.created) == ("d", True)
    assert got == {"1": b"x" * 6, "2": b"x" * 4}
    assert told[-1] == (10, 10)
    assert seen[0].progress == Transfer(4, 10)
