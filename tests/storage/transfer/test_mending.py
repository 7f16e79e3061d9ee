"""What a store lost or spoilt is right again after publishing from a whole copy, and only so."""

import asyncio
import os
import random
import signal
import time
from datetime import datetime
from pathlib import Path

import pytest
from yard_bundles import contents, key_of, make_bundle, office_at

from modelyard.errors import Conflict, Corrupt, NotFound
from modelyard.storage.stores.opening import open_store
from modelyard.storage.transfer.layout import manifest_key
from modelyard.storage.versions import BadVersion

rng = random.Random(11)
LARGE = rng.randbytes(700_000)
FILES = {
    "model.bin": LARGE,
    "again.bin": LARGE,
    "parts.bin": rng.randbytes(9_000_000),
    "empty": b"",
    **{f"small/{n}": rng.randbytes(2000) for n in range(20)},
}


@pytest.fixture
def objects(shared):
    """The store's objects, for a hand that spoils them."""
    store = open_store(*shared)
    store.open()
    yield Objects(store)
    store.close()


class Objects:
    def __init__(self, store):
        self.store = store

    def find(self, kind: str) -> str:
        """The key of one: a blob that goes in parts, a blob that does not, a pack, a manifest."""
        prefix = {"pack": "packs/", "manifest": "models/"}.get(kind, "blobs/")
        found = sorted(self.store.list(prefix), key=lambda item: item.size)
        return found[-1 if kind == "parts" else 0].key

    def get(self, key: str) -> bytes:
        return self.store.get_bytes(key, 10**8)

    def flip(self, key: str) -> None:
        data = bytearray(self.get(key))
        data[len(data) // 2] ^= 4
        self.store.put_bytes(key, bytes(data))

    def cut(self, key: str) -> None:
        self.store.put_bytes(key, self.get(key)[:-30])

    def lose(self, key: str) -> None:
        self.store.delete(key)

    def all(self) -> dict[str, bytes]:
        return {key: self.get(key) for key in self.times()}

    def times(self) -> dict[str, datetime]:
        found = (item for item in self.store.list() if not item.key.startswith("probes/"))
        return {item.key: item.modified for item in found}


@pytest.mark.parametrize("how", ["lose", "flip", "cut"])
@pytest.mark.parametrize(
    "shared", ["folder", pytest.param("rclone", marks=pytest.mark.slow)], indirect=True
)
async def test_what_is_lost_or_spoilt_is_put_again_and_nothing_else(
    here, there, objects, tmp_path, how
):
    await spoil_and_mend(here, there, objects, tmp_path, how)


@pytest.mark.parametrize("shared", ["rclone"], indirect=True)
async def test_a_sample_of_that_on_s3(here, there, objects, tmp_path):
    await spoil_and_mend(here, there, objects, tmp_path, "flip")


async def spoil_and_mend(here, there, objects, tmp_path, how):
    folder = make_bundle(tmp_path / "source", FILES)
    key = key_of(folder)
    await here.publish("weights", key, folder)
    whole = objects.all()
    for kinds in (("blob", "manifest"), ("parts", "pack")):
        targets = {objects.find(kind) for kind in kinds}
        times = objects.times()
        time.sleep(1.1)  # S3 counts whole seconds
        for target in targets:
            getattr(objects, how)(target)
        with pytest.raises((Corrupt, NotFound)):
            await there.fetch(key, tmp_path / f"before-{kinds}")
        told = []
        watch = lambda *now, told=told: told.append(now)  # noqa: E731
        await here.publish("weights", key, folder, watch, mend=True)
        assert objects.all() == whole
        now = objects.times()
        assert {name for name in times if now[name] != times[name]} == targets
        assert told[-1][0] == told[-1][1] == 2 * sum(map(len, set(FILES.values())))
    assert contents(await there.fetch(key, tmp_path / "got")) == FILES


async def test_a_whole_store_is_read_and_not_written(rclone, tmp_path):
    way = rclone.proxied()
    folder = make_bundle(tmp_path / "source", FILES)
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.publish("weights", key_of(folder), folder)
        way.faults.requests.clear()
        await office.publish("weights", key_of(folder), folder, mend=True)
    methods = [method for method, target in way.faults.requests if "probes/" not in target]
    assert set(methods) == {"HEAD", "GET"}
    assert methods.count("GET") == 1 + 1 + 1 + 2  # manifest, pack, a blob, and one in two parts


async def test_a_mending_that_was_killed_is_done_by_the_next_one(rclone, tmp_path):
    way = rclone.fresh()
    folder = make_bundle(tmp_path / "source", FILES)
    key = key_of(folder)
    store = open_store(way.url, way.env)
    store.open()
    objects = Objects(store)
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.publish("weights", key, folder)
        whole = objects.all()
        for kind in ("parts", "blob", "pack"):
            objects.flip(objects.find(kind))
        for seconds in (0.05, 0.3):
            task = asyncio.create_task(office.publish("weights", key, folder, mend=True))
            await asyncio.wait([task], timeout=seconds)
            os.kill(office.pid, signal.SIGKILL)
            await asyncio.gather(task, return_exceptions=True)
            while office.pid is not None:
                await asyncio.sleep(0.01)
            assert objects.times().keys() == whole.keys(), "nothing goes before it is replaced"
        await office.publish("weights", key, folder, mend=True)
    assert objects.all() == whole
    store.close()


@pytest.mark.parametrize("name", ["model.bin", "small/7", "manifest.json"])
@pytest.mark.parametrize("how", ["flip", "lose"])
async def test_a_damaged_copy_mends_nothing_and_says_so(local, tmp_path, name, how):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    store = tmp_path / "store"
    next(path for path in (store / "packs").rglob("*") if path.is_file()).unlink()
    path = folder / ("" if name == "manifest.json" else "files") / name
    if how == "lose":
        path.unlink()
    else:
        data = path.read_bytes()
        at = data.index(b"sha256") + 10 if name == "manifest.json" else len(data) // 2
        path.write_bytes(data[:at] + (b"0" if data[at:][:1] != b"0" else b"1") + data[at + 1 :])
    before = snapshot(store)
    with pytest.raises((BadVersion, Conflict)) as told:
        await local.publish("weights", key_of(folder), folder, mend=True)
    assert snapshot(store) == before
    if name != "manifest.json":
        assert name in told.value.message and "copy on this disk is damaged" in told.value.message


def snapshot(store: Path) -> dict[Path, tuple[bytes, float]]:
    files = [path for path in store.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime) for path in files}


async def test_a_wrong_manifest_here_never_replaces_the_right_one_there(local, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    place = tmp_path / "store" / manifest_key(key_of(folder))
    whole = place.read_bytes()
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"loss": 0.5', '"loss": 0.1'))
    await local.publish("weights", key_of(folder), folder, mend=True)
    assert place.read_bytes() == whole


@pytest.mark.parametrize("shared", ["folder"], indirect=True)
async def test_a_version_is_mended_from_a_copy_that_was_fetched(here, there, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    key = key_of(folder)
    await here.publish("weights", key, folder)
    copy = await there.fetch(key, tmp_path / "there" / "weights")
    store = tmp_path / "store"
    whole = snapshot(store)
    for path in [*(store / "blobs").rglob("*"), *(store / "packs").rglob("*")]:
        if path.is_file():
            path.write_bytes(b"?" * path.stat().st_size)
    (store / manifest_key(key)).unlink()
    await there.publish("weights", key, copy, mend=True)
    mended = snapshot(store)
    assert {path: data for path, (data, _) in mended.items()} == {
        path: data for path, (data, _) in whole.items()
    }
    assert contents(await here.fetch(key, tmp_path / "here" / "weights")) == FILES


async def test_what_was_deleted_is_not_mended(local, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    await local.delete(key_of(folder))
    with pytest.raises(Conflict, match="deleted"):
        await local.publish("weights", key_of(folder), folder, mend=True)


async def test_a_manifest_that_is_cut_is_told_as_damage(local, tmp_path):
    folder = make_bundle(tmp_path / "source", {"a": b"a"})
    await local.publish("weights", key_of(folder), folder)
    place = tmp_path / "store" / manifest_key(key_of(folder))
    place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(Corrupt, match="JSON"):
        await local.fetch(key_of(folder), tmp_path / "got")
    await local.publish("weights", key_of(folder), folder)  # an ordinary one sees that, too
    assert contents(await local.fetch(key_of(folder), tmp_path / "got")) == {"a": b"a"}
