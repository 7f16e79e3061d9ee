"""Files that are saved: whole under their name, and nothing beside them in the end."""

import fcntl

import aiohttp
from aiohttp import web

from modelyard.client.downloads import save


async def saved(aiohttp_server, target) -> None:
    async def give(request: web.Request) -> web.Response:
        return web.Response(body=b"the file")

    app = web.Application()
    app.router.add_get("/", give)
    server = await aiohttp_server(app)
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as answer:
        await save(answer, target)


async def test_what_a_killed_download_has_left_goes_with_the_next_one(aiohttp_server, tmp_path):
    target = tmp_path / "weights.[v1].zip"
    (tmp_path / ".weights.[v1].zip.0123abcd.part").write_bytes(b"half")
    (tmp_path / ".other.zip.0123abcd.part").write_bytes(b"of another file")
    await saved(aiohttp_server, target)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".other.zip.0123abcd.part", "weights.[v1].zip"]
    assert target.read_bytes() == b"the file"


async def test_download_of_the_same_file_that_is_under_way_is_left_alone(aiohttp_server, tmp_path):
    target, living = tmp_path / "weights.zip", tmp_path / ".weights.zip.0123abcd.part"
    with living.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        await saved(aiohttp_server, target)
        assert living.exists()
    await saved(aiohttp_server, target)
    assert not living.exists(), "its process has ended"
