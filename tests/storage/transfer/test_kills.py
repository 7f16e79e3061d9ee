"""kill -9 of the storage process, and a store that fails: nothing is ever half there."""

import asyncio
import json
import os
import random
import signal
from pathlib import Path

import pytest
from yard_bundles import contents, key_of, make_bundle, office_at

from modelyard.errors import StoreUnavailable
from modelyard.storage.stores.opening import open_store

rng = random.Random(9)


def bundle(root: Path, count: int = 2) -> Path:
    """`count` files that go in parts, and some that travel in a pack."""
    large = {f"large/{n}": rng.randbytes(9_000_000) for n in range(count)}
    return make_bundle(root, {**large, **{f"s/{n}": rng.randbytes(2000) for n in range(300)}})


async def interrupted(call, office, seconds: float) -> bool:
    """Kills the process `seconds` after the call began; False if the call was faster."""
    task = asyncio.create_task(call)
    await asyncio.wait([task], timeout=seconds)
    os.kill(office.pid, signal.SIGKILL)
    try:
        await task
        return False
    except StoreUnavailable:
        return True
    finally:
        while office.pid is not None:  # until the front has noticed
            await asyncio.sleep(0.01)


def check_store(url: str, env) -> None:
    """Whatever is published has all that it needs, with the bytes that it should have."""
    import hashlib

    store = open_store(url, env)
    manifests = [o.key for o in store.list("models/")]
    for key in manifests:
        manifest = json.loads(store.get_bytes(key, 10**8))
        packed = set()
        for pack in manifest["packs"]:
            data = store.get_bytes(f"packs/sha256/{pack['sha256'][:2]}/{pack['sha256']}", 10**8)
            assert hashlib.sha256(data).hexdigest() == pack["sha256"]
            packed.update(pack["files"])
        for file in manifest["files"]:
            if file["sha256"] not in packed:
                blob = f"blobs/sha256/{file['sha256'][:2]}/{file['sha256']}"
                data = store.get_bytes(blob, 10**8)
                assert hashlib.sha256(data).hexdigest() == file["sha256"]
    store.close()


async def kill_often(way, tmp_path, rounds: int) -> None:
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.check()
        kills = 0
        for number in range(rounds):
            folder = bundle(tmp_path / "source")
            publish = office.publish("weights", key_of(folder), folder)
            kills += await interrupted(publish, office, rng.uniform(0, 1.2))
            check_store(way.url, way.env)
            await office.publish("weights", key_of(folder), folder)
            check_store(way.url, way.env)

            root = tmp_path / "got"
            fetch = office.fetch(key_of(folder), root)
            kills += await interrupted(fetch, office, rng.uniform(0, 1.2))
            for whole in root.glob("[!.]*"):
                assert json.loads((whole / "manifest.json").read_text())["id"] == whole.name
                assert contents(whole) == contents(tmp_path / "source" / whole.name), number
            got = await office.fetch(key_of(folder), root)
            assert contents(got) == contents(folder)
            assert list(root.glob(".new-*")) == []
            await office.delete(key_of(folder))
        assert kills >= rounds // 2


async def test_killed_at_random_moments_of_publish_and_fetch(rclone, tmp_path):
    await kill_often(rclone.fresh(), tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moto", "rclone"])
async def test_killed_often_at_random_moments_of_publish_and_fetch(kind, request, tmp_path):
    await kill_often(request.getfixturevalue(kind).fresh(), tmp_path, 40)


FAULTS = [
    ("500", "PUT", "packs"),
    ("503", "GET", "blobs"),
    ("reset_upload", "PUT", "blobs"),
    ("truncate", "GET", "packs"),
    ("flip_download", "GET", "packs"),
    ("flip_download", "GET", "blobs"),
    ("flip_download", "GET", "models/"),
    ("flip_upload", "PUT", "packs"),
    ("flip_upload", "PUT", "blobs"),
    ("flip_upload", "PUT", "models/"),
    ("lost_answer", "PUT", "models/"),
    ("lost_answer", "POST", "blobs"),
]


async def broken_and_whole(office, way, tmp_path, faults) -> None:
    """One bundle there and back, with all these faults on the way."""
    added = [way.faults.add(*fault) for fault in faults]
    folder = bundle(tmp_path / "source", 1)
    await office.publish("weights", key_of(folder), folder)
    got = await office.fetch(key_of(folder), tmp_path / "got")
    assert contents(got) == contents(folder), faults
    assert [fault.hits for fault in added] == [1] * len(added), faults
    way.faults.clear()


async def test_whatever_breaks_on_the_way_the_bundle_arrives_as_it_was(rclone, tmp_path):
    way = rclone.proxied()
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.check()
        await broken_and_whole(office, way, tmp_path, FAULTS)
    check_store(way.url, way.env)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_breaks_alone_the_bundle_arrives_as_it_was(rclone, tmp_path, fault):
    way = rclone.proxied()
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.check()
        await broken_and_whole(office, way, tmp_path, [fault])
    check_store(way.url, way.env)


@pytest.mark.slow
async def test_a_store_that_goes_away_in_the_middle_publishes_nothing_half(rclone, tmp_path):
    way = rclone.proxied()
    folder = bundle(tmp_path / "source")
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        way.faults.add("down", times=None, match="blobs", skip=4)
        with pytest.raises(StoreUnavailable):
            await office.publish("weights", key_of(folder), folder)
        way.faults.clear()
        check_store(way.url, way.env)
        await office.publish("weights", key_of(folder), folder)
        assert contents(await office.fetch(key_of(folder), tmp_path / "got")) == contents(folder)
