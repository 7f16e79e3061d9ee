"""What is sent: files as they are, folders as a tar that exists only while it is read."""

from __future__ import annotations

import io
import os
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


def test_links_in_a_folder_are_sent_as_what_they_point_to_in_it(folder, tmp_path):
    top, files = folder
    (top / "cats" / "link").symlink_to("../labels.csv")
    (top / "pussycats").symlink_to("cats")
    (tmp_path / "named").symlink_to(top)
    links = {"cats/link": files["labels.csv"]}
    links |= {f"pussy{name}": data for name, data in {**files, **links}.items() if "cats" in name}
    with tarfile.open(fileobj=io.BytesIO(whole(content_of([tmp_path / "named"])))) as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive}
    assert found == {**files, **links}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("../../secret", "'cats/odd' is a link that leads out of the folder. Put a copy"),
        ("/etc", "'cats/odd' is a link that leads out of the folder. Put a copy"),
        ("none", "'cats/odd' is a link to nothing. Remove it"),
        ("..", "'cats/odd' is a link that leads to a folder which it is in"),
        (None, "'cats/odd' is a pipe, a socket or a device. Remove it"),
    ],
)
def test_a_folder_with_links_that_lead_out_or_pipes_is_not_sent(folder, tmp_path, target, said):
    (tmp_path / "secret").write_text("of somebody else")
    odd = folder[0] / "cats" / "odd"
    if target is None:
        os.mkfifo(odd)
    else:
        odd.symlink_to(target)
    with pytest.raises(ClientError, match="cannot be sent: in it, ") as refused:
        content_of([folder[0]])
    assert said in str(refused.value)


def test_a_link_that_is_put_in_place_of_a_file_meanwhile_is_not_followed(folder, tmp_path):
    content = content_of([folder[0]])
    (tmp_path / "secret").write_bytes(files := folder[1]["labels.csv"])
    assert files in whole(content)
    (folder[0] / "labels.csv").unlink()
    (folder[0] / "labels.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        whole(content)


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
