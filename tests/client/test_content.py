"""What is sent: files as they are, folders as a tar that exists only while it is read."""

from __future__ import annotations

import io
import random
import tarfile

import pytest
from aiohttp import web

from modelyard.client import ClientError
from modelyard.client.content import ContentBody, content_of
from modelyard.client.transport import Call


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "pets"
    (top / "cats" / ("deep" * 30)).mkdir(parents=True)
    files = {
        "labels.csv": b"a,cat\n",
        "cats/größe 1.txt": b"x" * 512,
        "cats/empty": b"",
        f"cats/{'deep' * 30}/{'long' * 30}.bin": random.Random(1).randbytes(3_000_000),
    }
    for name, data in files.items():
        (top / name).write_bytes(data)
    return top, files


def whole(content):
    return b"".join(content.pieces(0, content.size))


def test_a_folder_is_a_tar_that_other_programs_read(folder):
    top, files = folder
    content = content_of([top])
    assert content.filename == "pets.tar"
    data = whole(content)
    assert len(data) == content.size
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert {one.name: archive.extractfile(one).read() for one in archive} == files


def test_every_range_of_a_tar_is_that_of_the_whole(folder):
    content = content_of([folder[0]])
    data = whole(content)
    draw = random.Random(2)
    places = [0, 511, 512, 1024, content.size - 1025, content.size - 1]
    places += [draw.randrange(content.size) for _ in range(60)]
    for offset in places:
        length = min(draw.choice([1, 512, 700, 2_000_000]), content.size - offset)
        assert b"".join(content.pieces(offset, length)) == data[offset : offset + length]


def test_the_same_files_give_the_same_bytes_and_a_changed_one_another_fingerprint(folder):
    top, _ = folder
    first, again = content_of([top]), content_of([top])
    assert (whole(first), first.fingerprint) == (whole(again), again.fingerprint)
    (top / "labels.csv").write_bytes(b"b,cat\n")
    assert content_of([top]).fingerprint != first.fingerprint


def test_several_paths_keep_their_own_names(folder, tmp_path):
    top, files = folder
    other = tmp_path / "one.txt"
    other.write_bytes(b"1")
    content = content_of([top, other])
    with tarfile.open(fileobj=io.BytesIO(whole(content))) as archive:
        assert set(archive.getnames()) == {"one.txt", *(f"pets/{name}" for name in files)}
    with pytest.raises(ClientError, match="the same name"):
        content_of([other, other])


def test_a_folder_without_files_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(ClientError, match="no files"):
        content_of([tmp_path])
    with pytest.raises(FileNotFoundError):
        content_of([tmp_path / "none"])


async def test_a_file_that_becomes_shorter_is_no_lost_connection(server, client, tmp_path):
    async def read(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({})

    server.on("PUT", "/here", read)
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(3_000_000))
    content = content_of([path])
    path.write_bytes(b"short")
    with pytest.raises(ClientError, match="became shorter"):
        await client._transport.json(Call("PUT", "/here", body=ContentBody(content, {})))
