"""What one server publishes another one gets, whole, from every kind of store."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from yard_bundles import contents, key_of, make_bundle, office_at
from yard_rights import run_as_others

from modelyard.errors import Conflict, Corrupt, DiskFull, NotFound
from modelyard.storage.versions import BadVersion

rng = random.Random(4)
LARGE = rng.randbytes(700_000)
FILES = {
    "model.bin": LARGE,
    "again/the_same.bin": LARGE,
    "config.json": b'{"a": 1}',
    "empty": b"",
    "labels/été.txt": b"summer",
    **{f"small/{n:03}.bin": rng.randbytes(3000 + n) for n in range(50)},
}


def blobs(tmp_path) -> list[Path]:
    return [p for p in (tmp_path / "store" / "blobs").rglob("*") if p.is_file()]


def packs(tmp_path) -> list[Path]:
    return [p for p in (tmp_path / "store" / "packs").rglob("*") if p.is_file()]


def a_while_later(home: Path) -> None:
    """As if more than an hour had passed since the store was looked at."""
    for path in home.glob("store/*/published/*.json"):
        known = json.loads(path.read_text())
        path.write_text(json.dumps({**known, "looked_at": known["looked_at"] - 3601}))


async def test_what_is_published_here_is_the_same_there(here, there, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    told = []
    await here.publish("weights", key_of(folder), folder, lambda *now: told.append(now))
    got = await there.fetch(key_of(folder), tmp_path / "there" / "weights")

    assert got == tmp_path / "there" / "weights" / folder.name
    assert contents(got) == FILES
    manifest = json.loads((folder / "manifest.json").read_text())
    assert json.loads((got / "manifest.json").read_text()) == manifest
    assert told[-1] == (sum(map(len, set(FILES.values()))),) * 2
    # And again: nothing is done.
    assert await there.fetch(key_of(folder), tmp_path / "there" / "weights") == got
    await here.publish("weights", key_of(folder), folder)


async def test_a_dataset_version_travels_the_same_way(local, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"kind": "dataset", "model": None, "name": "birds", "digest": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    await local.publish("dataset", f"datasets/{folder.name}", folder)
    got = await local.fetch(f"datasets/{folder.name}", tmp_path / "there" / "datasets")
    assert contents(got) == FILES
    assert json.loads((got / "manifest.json").read_text())["name"] == "birds"


@pytest.mark.parametrize("shared", ["folder", "rclone"], indirect=True)
async def test_what_somebody_deleted_is_gone_and_can_be_published_anew(here, there, tmp_path):
    folder = make_bundle(tmp_path / "source", {"a": b"a"})
    key = key_of(folder)
    with pytest.raises(NotFound):
        await there.fetch(key, tmp_path / "there" / "weights")
    await here.publish("weights", key, folder)
    await there.delete(key)
    await there.delete(key)
    with pytest.raises(NotFound):
        await here.fetch(key, tmp_path / "fetched")
    with pytest.raises(Conflict, match="deleted"):
        await here.publish("weights", key, folder)
    await here.publish("weights", key, folder, undelete=True)
    assert contents(await there.fetch(key, tmp_path / "there" / "weights")) == {"a": b"a"}


async def test_publishing_again_writes_nothing(rclone, tmp_path):
    way = rclone.proxied()
    folder = make_bundle(tmp_path / "source", FILES)
    other = make_bundle(tmp_path / "source", FILES)
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.publish("weights", key_of(folder), folder)
        way.faults.requests.clear()
        await office.publish("weights", key_of(folder), folder)
        methods = [method for method, _ in way.faults.requests]
        assert methods == ["HEAD", "HEAD"]  # the tombstone and the manifest, for an hour

        a_while_later(tmp_path / "here")
        way.faults.requests.clear()
        await office.publish("weights", key_of(folder), folder)
        methods = [method for method, _ in way.faults.requests]
        assert methods == ["HEAD"] * 4  # a pack and a blob, too

        # The same files as another version: only its manifest is written.
        way.faults.requests.clear()
        await office.publish("weights", key_of(other), other)
        put = [target for method, target in way.faults.requests if method == "PUT"]
        assert [t for t in put if "probes" not in t and other.name not in t] == []


async def test_fetching_what_is_there_reads_nothing_of_it(rclone, tmp_path):
    way = rclone.proxied()
    folder = make_bundle(tmp_path / "source", FILES)
    key, root = key_of(folder), tmp_path / "got"
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.publish("weights", key, folder)
        got = await office.fetch(key, root)
        way.faults.requests.clear()
        assert await office.fetch(key, root) == got
        assert [method for method, _ in way.faults.requests] == ["HEAD", "HEAD"]

        # A file that went is brought again, and what was deleted is not told to be there.
        (got / "files/small/007.bin").unlink()
        assert contents(await office.fetch(key, root)) == FILES
        await office.delete(key)
        with pytest.raises(NotFound):
            await office.fetch(key, root)


async def test_small_files_share_an_object(local, tmp_path):
    many = {f"{n}": rng.randbytes(2000) for n in range(2000)}
    folder = make_bundle(tmp_path / "source", many)
    await local.publish("weights", key_of(folder), folder)
    assert blobs(tmp_path) == []
    assert len(packs(tmp_path)) == 1
    assert contents(await local.fetch(key_of(folder), tmp_path / "got")) == many


async def test_a_bundle_that_is_not_what_its_manifest_says_is_not_published(local, tmp_path):
    for name, spoil in {
        "large": lambda p: p.write_bytes(b"?" * p.stat().st_size),
        "small": lambda p: p.write_bytes(b"?" * p.stat().st_size),
        "longer": lambda p: p.write_bytes(b"?" * 2000),
        "gone": lambda p: p.unlink(),
        "large_gone": lambda p: p.unlink(),
    }.items():
        size = 300_000 if "large" in name else 1000
        folder = make_bundle(tmp_path / "source", {name: rng.randbytes(size), "b": b"b"})
        spoil(folder / "files" / name)
        with pytest.raises(BadVersion):
            await local.publish("weights", key_of(folder), folder)
        with pytest.raises(NotFound):
            await local.fetch(key_of(folder), tmp_path / "got")


async def test_another_bundle_never_takes_the_place_of_a_published_one(local, tmp_path):
    folder = make_bundle(tmp_path / "source", {"a": b"a"})
    other = make_bundle(tmp_path / "other", {"a": b"b"}, identity=folder.name)
    await local.publish("weights", key_of(folder), folder)
    with pytest.raises(Conflict):
        await local.publish("weights", key_of(other), other)
    with pytest.raises(BadVersion, match="model"):
        await local.publish("weights", key_of(folder, "another"), folder)


@pytest.mark.parametrize("kind", ["blobs", "packs"])
async def test_damaged_bytes_in_the_store_are_told_and_nothing_is_put_in_place(
    local, tmp_path, kind
):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    (target,) = (blobs if kind == "blobs" else packs)(tmp_path)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 4
    target.unlink()
    target.write_bytes(data)
    with pytest.raises(Corrupt):
        await local.fetch(key_of(folder), tmp_path / "got")
    assert not (tmp_path / "got" / folder.name).exists()
    # What was right is kept for the next time, which needs only what is lacking.
    await local.publish("weights", key_of(folder), folder, mend=True)
    assert contents(await local.fetch(key_of(folder), tmp_path / "got")) == FILES


async def test_a_flipped_bit_in_a_manifest_is_noticed(local, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    manifest = tmp_path / "store" / f"{key_of(folder)}.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"loss":0.5', b'"loss":0.7'))
    with pytest.raises(Corrupt):
        await local.fetch(key_of(folder), tmp_path / "got")


async def test_a_manifest_cannot_name_files_outside_its_folder(local, tmp_path):
    folder = make_bundle(tmp_path / "source", {"a": b"a"})
    text = (folder / "manifest.json").read_text()
    for name in ("../out", "/etc/out", "a/../../out", ".", "a//b"):
        (folder / "manifest.json").write_text(text.replace('"path": "a"', f'"path": "{name}"'))
        with pytest.raises(BadVersion):
            await local.publish("weights", key_of(folder), folder)


async def test_a_fetch_keeps_what_an_earlier_one_brought_and_verifies_it(rclone, tmp_path):
    way = rclone.proxied()
    folder = make_bundle(tmp_path / "source", FILES)
    async with office_at(tmp_path / "here", way.url, way.env) as office:
        await office.publish("weights", key_of(folder), folder)
        left = tmp_path / "got" / f".new-{folder.name}" / "files"
        shutil.copytree(folder / "files", left)
        (left / "small/007.bin").write_bytes(b"?" * (left / "small/007.bin").stat().st_size)
        (left / "of_nobody").write_bytes(b"?")
        (left / "config.json").unlink()
        way.faults.requests.clear()
        got = await office.fetch(key_of(folder), tmp_path / "got")
    assert contents(got) == FILES
    assert not any("blobs" in target for _, target in way.faults.requests)


_GO_ON = """
import asyncio, sys
from pathlib import Path
from yard_bundles import office_at

async def main(home, store, key, target):
    async with office_at(Path(home), store) as office:
        await office.fetch(key, Path(target))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_fetch_goes_on_in_a_read_only_copy_that_was_half_removed(local, tmp_path):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    left = tmp_path / "got" / f".new-{folder.name}" / "files"
    shutil.copytree(folder / "files", left)
    (left / "config.json").unlink()
    (left / "of_nobody").write_bytes(b"?")
    for place in (left / "small", left):
        place.chmod(0o555)
    run_as_others(_GO_ON, tmp_path / "there", tmp_path / "store", key_of(folder), tmp_path / "got")
    assert contents(tmp_path / "got" / folder.name) == FILES


@pytest.mark.parametrize("how", ["mend", "later"])
async def test_what_the_store_lost_is_put_again(local, tmp_path, how):
    folder = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(folder), folder)
    for path in [*blobs(tmp_path), *packs(tmp_path)]:
        path.unlink()
    with pytest.raises(Corrupt, match="lacks"):
        await local.fetch(key_of(folder), tmp_path / "got")
    if how == "later":
        a_while_later(tmp_path / "here")
    await local.publish("weights", key_of(folder), folder, mend=how == "mend")
    assert contents(await local.fetch(key_of(folder), tmp_path / "got")) == FILES


async def test_what_is_found_there_and_is_old_is_made_young(local, tmp_path):
    """Else a repair could collect it before it sees the new manifest."""
    first = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(first), first)
    objects = [*blobs(tmp_path), *packs(tmp_path)]
    for path in objects:
        os.utime(path, (time.time() - 13 * 3600,) * 2)
    second = make_bundle(tmp_path / "source", FILES)
    await local.publish("weights", key_of(second), second)
    assert all(path.stat().st_mtime > time.time() - 60 for path in objects)


async def test_a_bundle_that_does_not_fit_the_disk_is_refused_at_once(local, tmp_path):
    folder = make_bundle(tmp_path / "source", {"a": b"a"})
    text = (folder / "manifest.json").read_text().replace('"size": 1', '"size": 1000000000000000')
    place = tmp_path / "store" / f"{key_of(folder)}.json"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    with pytest.raises(DiskFull, match="free"):
        await local.fetch(key_of(folder), tmp_path / "got")
