"""The storage process: when it lives, what it is told, and what the front hears of its end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from yard_bundles import contents, key_of, make_bundle, office_at

from modelyard.errors import InvalidArguments, NotFound, StoreRefused, StoreUnavailable, TooLarge
from modelyard.storage import line


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def gone(pid: int, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        await asyncio.sleep(0.02)
    return not alive(pid)


async def test_a_killed_process_is_told_as_such_and_the_next_question_starts_another(
    local, tmp_path
):
    await local.start()
    pid = local.pid
    question = asyncio.create_task(local.changes().__anext__())
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises((StoreUnavailable, StopAsyncIteration)):
        await question
    assert await gone(pid)
    folder = make_bundle(tmp_path, {"a": b"a"})
    await local.publish("weights", key_of(folder), folder)
    assert local.pid != pid


async def test_a_stopped_process_is_ended_and_the_next_question_starts_another(local):
    await local.start()
    pid = local.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(StoreUnavailable, match="ended during the call"):
        await local.check()
    assert await gone(pid)
    assert await local.check()
    assert local.pid != pid


async def test_it_ends_when_nobody_asks_and_starts_when_somebody_does(local, tmp_path, monkeypatch):
    monkeypatch.setattr(line, "IDLE_S", 0.2)
    await local.check()
    pid = local.pid
    assert await gone(pid)
    assert local.pid is None
    await asyncio.gather(*(local.check() for _ in range(5)))
    assert local.pid != pid


async def test_it_ends_with_a_front_that_was_killed(tmp_path):
    code = (
        "import asyncio, sys; from pathlib import Path; sys.path.append(sys.argv[1])\n"
        "from yard_bundles import office_at\n"
        "async def main():\n"
        "    async with office_at(Path(sys.argv[2]), sys.argv[2] + '-store') as office:\n"
        "        await office.check()\n"
        "        print(office.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    servers = str(Path(__file__).parents[2] / "servers")
    front = subprocess.Popen(
        [sys.executable, "-c", code, servers, str(tmp_path / "home")], stdout=subprocess.PIPE
    )
    with front:
        pid = int(front.stdout.readline())
        assert alive(pid)
        front.kill()
    assert await gone(pid)


async def test_a_store_that_is_away_does_not_stop_the_start(rclone, tmp_path):
    way = rclone.proxied()
    way.faults.add("down", times=None)
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.start()
        assert isinstance(office.problem, StoreUnavailable)
        way.faults.clear()
        await office.start()
        assert office.problem is None


@pytest.mark.parametrize(
    ("url", "said"),
    [("ftp://x", "no kind of storage"), ("s3://key:hidden@bucket", "credentials")],
)
async def test_a_wrong_address_is_refused_without_repeating_a_secret(tmp_path, url, said):
    async with office_at(tmp_path / "here", url) as office:
        with pytest.raises(StoreRefused, match=said) as refused:
            await office.start()
        assert "hidden" not in str(refused.value)


async def test_a_store_of_a_newer_release_is_refused(local, tmp_path):
    await local.start()
    marker = tmp_path / "store" / "modelyard.json"
    assert marker.read_text() == '{"format": 1}'
    marker.write_text('{"format": 2}')
    with pytest.raises(StoreRefused, match="newer release"):
        await local.start()


async def test_credentials_that_are_wrong_are_told_without_them(rclone, tmp_path):
    way = rclone.fresh()
    wrong = {**way.env, "AWS_SECRET_ACCESS_KEY": "wrong-and-hidden"}
    async with office_at(tmp_path / "here", way.url, wrong) as office:
        with pytest.raises(StoreRefused) as refused:
            await office.start()
    assert "hidden" not in str(refused.value)
    assert b"hidden" not in (tmp_path / "here" / "logs" / "storage.log").read_bytes()


async def test_a_cancelled_transfer_stops_and_can_be_done_again(rclone, tmp_path):
    way = rclone.proxied()
    folder = make_bundle(tmp_path, {f"{n}": os.urandom(1_000_000) for n in range(30)})
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.check()
        begun = asyncio.Event()
        publishing = asyncio.create_task(
            office.publish("weights", key_of(folder), folder, lambda *_: begun.set())
        )
        await begun.wait()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        # What is under way ends, and nothing new begins.
        requests = -1
        while requests != len(way.faults.requests):
            requests = len(way.faults.requests)
            await asyncio.sleep(0.5)
        put = {target for method, target in way.faults.requests if method == "PUT"}
        assert len([target for target in put if "blobs" in target]) < 30, "it went on to the end"
        with pytest.raises(NotFound):
            await office.fetch(key_of(folder), tmp_path / "got")
        await office.publish("weights", key_of(folder), folder)
        assert contents(await office.fetch(key_of(folder), tmp_path / "got")) == contents(folder)


async def test_a_front_that_uses_the_office_loads_no_s3_library():
    code = "import sys, modelyard.storage.office; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"boto3", "botocore"} & set(done.stdout.split())


async def test_a_shared_file_can_be_had_by_its_address(rclone, tmp_path):
    import urllib.request

    way = rclone.fresh()
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(os.urandom(100_000))
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        url = await office.share(archive, "birds.tar.gz", 60)
        assert url is not None and "testsecret" not in url
        assert await office.share(archive, "birds.tar.gz", 60) is not None
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == archive.read_bytes()
        with pytest.raises(InvalidArguments):
            await office.share(archive, "birds.tar.gz", 8 * 24 * 3600)


async def test_a_folder_store_shares_nothing(local, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"zip")
    assert await local.share(tmp_path / "a.zip", "a.zip", 60) is None
    assert not (tmp_path / "store" / "shared").exists()


async def test_fetching_an_object_writes_nothing_beside_it(rclone, tmp_path):
    from modelyard.storage.stores.opening import open_store

    way = rclone.proxied()
    store = open_store(way.url, way.env)
    store.put_bytes("data/birds.zip", b"birds")
    store.close()
    way.faults.requests.clear()
    async with office_at(tmp_path / "here", str(tmp_path / "store"), way.env) as office:
        await office.fetch_object(f"{way.url}/data/birds.zip", tmp_path / "got", 5)
    assert (tmp_path / "got").read_bytes() == b"birds"
    assert {method for method, _ in way.faults.requests} == {"GET", "HEAD"}


@pytest.mark.parametrize("shared", ["folder", "rclone"], indirect=True)
async def test_an_object_comes_by_its_address_up_to_a_limit(here, shared, tmp_path):
    url, _ = shared
    data = os.urandom(20_000_000)
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    if url.startswith("s3"):
        from modelyard.storage.stores.opening import open_store

        store = open_store(url, shared[1])
        store.put_bytes("data/birds.zip", data)
        store.close()
        address = f"{url}/data/birds.zip"
    else:
        address = archive.as_uri()
    target = tmp_path / "fetched.zip"
    await here.fetch_object(address, target, 20_000_000)
    assert target.read_bytes() == data
    with pytest.raises(TooLarge):
        await here.fetch_object(address, tmp_path / "other", 19_999_999)
    with pytest.raises(NotFound):
        await here.fetch_object(f"{address}.not", tmp_path / "other", 1)
    assert not (tmp_path / "other").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
