"""A store that takes requests and gives nothing: who waits is told in time, the fetch goes on."""

import asyncio
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from modelyard.errors import Busy, StoreUnavailable
from modelyard.records.home import Home
from modelyard.storage.cache import StoreCache
from modelyard.storage.office import StorageOffice

ID = "0123456789abcdef" * 2
KEY = f"models/m/weights/{ID}"
QUIET_S = 1.0
SIZE = 9 * 1024**2  # two parts


class Shelf:
    """Versions of a folder; what came is remembered."""

    def __init__(self, root: Path):
        self.root, self.arrived = root, []

    async def fetched(self):
        return []

    async def came(self, bundle_id):
        self.arrived.append(bundle_id)

    async def in_use(self):
        return set()


def bundle(folder: Path) -> Path:
    content = os.urandom(SIZE)
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "w.bin").write_bytes(content)
    file = {"path": "w.bin", "size": SIZE, "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {
        "format": 1, "kind": "weights", "id": ID, "model": "m", "run": None, "size": SIZE,
        "created_at": "2026-11-21T10:00:00+00:00", "origin": "training", "step": 1,
        "checkpoint": "best", "metrics": {}, "files": [file],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


async def opened(home: Path, way) -> StorageOffice:
    place = Home(home)
    place.open()
    environ = {**os.environ, **way.env}
    return StorageOffice(way.url, place, environ, place.logs / "storage.log")


@pytest.fixture
async def hung(tmp_path, rclone):
    """The way to a store with one bundle, and what fetches it by that way."""
    way = rclone.proxied()
    office = await opened(tmp_path / "home", way)
    await office.publish("weights", KEY, bundle(tmp_path / "bundle"))
    shelf = Shelf(tmp_path / "weights")
    shelf.root.mkdir()
    cache = StoreCache(office, quiet_s=QUIET_S)
    yield way, cache, shelf
    way.faults.let_go()
    await cache.close()
    await office.close()


def bring(cache, shelf, limit_s=None):
    return cache.bring(shelf, KEY, ID, SIZE, limit_s)


async def arrived(shelf, within_s):
    async with asyncio.timeout(within_s):
        while not shelf.arrived:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("hang", "blobs/"),
        pytest.param("hang", "models/m", marks=pytest.mark.slow),
        pytest.param("hang_body", "blobs/", marks=pytest.mark.slow),
    ],
)
async def test_a_request_ends_when_the_store_gives_nothing_and_the_fetch_goes_on(hung, kind, match):
    way, cache, shelf = hung
    way.faults.add(kind, "GET", match, times=None)
    began = time.monotonic()
    waits = [bring(cache, shelf) for _ in range(3)]
    for error in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(error, StoreUnavailable), error
        assert f"from the store {way.url} (" in error.message and "ask again" in error.message
    took = time.monotonic() - began
    assert QUIET_S <= took < QUIET_S + 3
    assert not shelf.arrived
    way.faults.clear()
    way.faults.let_go()
    await arrived(shelf, 15)
    await bring(cache, shelf)
    assert (shelf.root / ID / "files" / "w.bin").stat().st_size == SIZE


async def test_a_store_that_is_slow_is_waited_for_but_no_longer_than_who_waits_says(hung):
    way, cache, shelf = hung
    way.faults.add("slow", "GET", "blobs/", times=None)
    began = time.monotonic()
    with pytest.raises(Busy, match=f"is being fetched from the store {way.url} .* of {SIZE} bytes"):
        await bring(cache, shelf, 0.2)
    await bring(cache, shelf)
    assert time.monotonic() - began > 1.5 * QUIET_S
    assert shelf.arrived == [ID]
