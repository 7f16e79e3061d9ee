"""Versions that the store lost or damaged, and the state they have while it is mended."""

import shutil

import pytest
from yard_keepers import SIZE

from modelyard.errors import Conflict, Corrupt
from modelyard.records.weights import update_weights


async def test_a_ready_version_that_the_store_lost_is_mended_and_served_meanwhile(yard, tmp_path):
    here = await yard()
    version = await here.until(await here.make(1), "ready")
    (pack,) = (path for path in (tmp_path / "store" / "packs").rglob("*") if path.is_file())
    pack.write_bytes(b"?" * SIZE)
    mending = await here.keeper.retry(version)
    assert (mending.state, mending.stored, mending.local) == ("publishing", True, True)
    assert (await here.keeper.local(mending)).folder.is_dir()
    asked_twice = await here.keeper.retry(mending)
    assert asked_twice.state == "publishing" or asked_twice.stored
    mended = await here.until(version, "ready")
    assert mended.stored and mended.reason is None
    assert pack.read_bytes() == (version.folder / "w.bin").read_bytes()
    there = await yard("b")
    got = await there.keeper.local(await there.versions.get("m", "latest"))
    assert (got.folder / "w.bin").read_bytes() == pack.read_bytes()


async def test_a_version_whose_copy_is_damaged_is_not_mended_with_it(yard, tmp_path):
    here = await yard()
    version = await here.until(await here.make(1), "ready")
    (pack,) = (path for path in (tmp_path / "store" / "packs").rglob("*") if path.is_file())
    file, whole = version.folder / "w.bin", pack.read_bytes()
    file.unlink()
    file.write_bytes(b"?" * SIZE)
    await here.keeper.retry(version)
    failed = await here.until(version, "failed")
    assert failed.stored and "copy on this disk is damaged" in failed.reason
    assert pack.read_bytes() == whole
    shutil.rmtree(version.folder.parent)  # what the reason tells to do
    assert ((await here.keeper.local(failed)).folder / "w.bin").read_bytes() == whole
    await here.keeper.retry(failed)
    assert (await here.until(version, "ready")).reason is None


async def test_what_is_not_here_cannot_mend_the_store_and_is_told_where_to(yard, tmp_path):
    first = await yard("a")
    await first.until(await first.make(1), "ready")
    second = await yard("b")
    absent = await second.versions.get("m", "latest")
    with pytest.raises(Conflict, match="server that has it"):
        await second.keeper.retry(absent)
    for path in (tmp_path / "store" / "packs").rglob("*"):
        if path.is_file():
            path.write_bytes(b"?" * SIZE)
    with pytest.raises(Corrupt, match="--mend"):
        await second.keeper.local(absent)
    (tmp_path / "store" / f"{absent.key}.json").unlink()
    with pytest.raises(Corrupt, match="--mend"):
        await second.keeper.local(absent)


async def test_a_copy_stays_while_the_store_is_mended_from_it(yard):
    first = await yard("a")
    await first.until(await first.make(1), "ready")
    second = await yard("b", limit=SIZE // 2)
    version = await second.keeper.local(await second.versions.get("m", "latest"))
    await second.store.write(lambda c: update_weights(c, version.id, state="publishing"))
    await second.cache.make_room()
    assert version.folder.is_dir()
    await second.store.write(lambda c: update_weights(c, version.id, state="ready"))
    await second.cache.make_room()
    assert not version.folder.is_dir()


async def test_a_mending_that_a_restart_cut_off_has_to_be_asked_for_again(yard):
    here = await yard()
    version = await here.until(await here.make(1), "ready")
    await here.store.write(lambda c: update_weights(c, version.id, state="publishing", reason="-"))
    await here.close()
    again = await here.open()
    now = await again.versions.get("m", version.id)
    assert (now.state, now.stored, now.reason) == ("ready", True, None)
