"""What a repair removes, and what it leaves alone."""

import os
import time
from pathlib import Path

from yard_bundles import contents, key_of, make_bundle

HOUR = 3600


def age(root: Path, hours: float) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - hours * HOUR,) * 2)


def objects(store: Path) -> set[str]:
    return {
        str(path.relative_to(store))
        for folder in ("blobs", "packs")
        for path in (store / folder).rglob("*")
        if path.is_file()
    }


async def two_versions(office, tmp_path) -> tuple[Path, Path]:
    """The second one is deleted; they share a file."""
    common = os.urandom(300_000)
    kept = make_bundle(tmp_path, {"common": common, "a": b"a" * 99, "own": os.urandom(300_000)})
    gone = make_bundle(tmp_path, {"common": common, "b": b"b" * 99, "own": os.urandom(400_000)})
    for folder in (kept, gone):
        await office.publish("weights", key_of(folder), folder)
    await office.delete(key_of(gone))
    return kept, gone


async def test_what_no_manifest_needs_is_removed_when_it_is_a_day_old(local, tmp_path):
    store = tmp_path / "store"
    kept, _ = await two_versions(local, tmp_path)
    before = objects(store)
    assert len(before) == 5
    report = await local.repair(dry=False)
    assert (report.blobs, report.packs) == (0, 0)

    age(store, 25)
    report = await local.repair(dry=True)
    assert (report.blobs, report.packs, report.size) == (1, 1, 400_099)
    assert objects(store) == before
    report = await local.repair(dry=False)
    assert (report.blobs, report.packs, report.size) == (1, 1, 400_099)
    assert len(objects(store)) == 3
    assert contents(await local.fetch(key_of(kept), tmp_path / "got")) == contents(kept)


async def test_nothing_is_removed_while_a_manifest_cannot_be_read(local, tmp_path):
    store = tmp_path / "store"
    kept, _ = await two_versions(local, tmp_path)
    before = objects(store)
    manifest = store / f"{key_of(kept)}.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    age(store, 25)
    report = await local.repair(dry=False)
    assert kept.name in report.refused
    assert objects(store) == before


async def test_a_deletion_that_was_cut_short_is_finished(local, tmp_path):
    store = tmp_path / "store"
    _, gone = await two_versions(local, tmp_path)
    manifest = store / f"{key_of(gone)}.json"
    manifest.write_text('{"id": "%s", "files": []}' % gone.name)  # noqa: UP031
    age(store, 25)
    assert (await local.repair(dry=True)).deletions == 1
    assert manifest.exists()
    assert (await local.repair(dry=False)).deletions == 1
    assert not manifest.exists()


async def test_old_archives_and_old_moves_go_and_the_newest_stay(local, tmp_path):
    store = tmp_path / "store"
    for counter in range(1, 31):
        await local.move("models/m/aliases/production", {"n": counter}, counter)
    for name, hours in (("old", 9 * 24), ("new", 24)):
        path = store / "shared" / name / "archive.zip"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"zip")
        os.utime(path, (time.time() - hours * HOUR,) * 2)
    age(store / "registers", 25)
    report = await local.repair(dry=False)
    assert (report.shared, report.entries) == (1, 10)
    assert [path.parent.name for path in (store / "shared").rglob("*.zip")] == ["new"]
    assert await local.move("models/m/aliases/production", {}, 1) == 31
