"""Versions and a store: published with patience, fetched once, dropped by use, followed."""

import asyncio
import os
import shutil

import pytest
from yard_keepers import SIZE, bundle

from modelyard.errors import Busy, Conflict, StoreUnavailable, WeightsNotFound
from modelyard.records.aliases import current_aliases
from modelyard.records.splits import Split
from modelyard.records.weights import delete_weights, update_weights
from modelyard.storage.aliases import Target
from modelyard.storage.retention import Retention


async def test_without_a_store_a_version_is_ready_at_once(yard):
    here = await yard(url=None)
    version = await here.make(1)
    assert (version.state, version.aliases) == ("ready", ("latest",))
    with pytest.raises(Conflict):
        await here.keeper.retry(version)


async def test_what_was_made_without_a_store_is_published_when_there_is_one(yard, tmp_path):
    here = await yard(url=None)
    version = await here.make(1)
    await here.close()
    here.url = str(tmp_path / "store")
    await here.open()
    assert (await here.until(version, "ready")).stored
    other = await yard("b")
    assert await other.ids() == [version.id]


async def test_another_store_gets_what_is_here_and_what_only_the_old_one_had_is_not_listed(
    yard, tmp_path
):
    first = await yard("a")
    only_there = await first.make(1)
    await first.until(only_there, "ready")
    second = await yard("b")
    here = await second.make(2)
    await second.until(here, "ready")
    assert await second.ids() == [here.id, only_there.id]
    await second.close()
    second.url = str(tmp_path / "another")
    await second.open()
    assert (await second.until(here, "ready")).stored
    assert await second.ids() == [here.id]
    assert (tmp_path / "another" / "models" / "m" / "weights" / f"{here.id}.json").exists()


async def test_a_store_that_is_away_is_tried_until_it_is_back(yard, rclone, tmp_path):
    way = rclone.fresh()
    os.environ.update(way.env)
    here = await yard(url=way.url)
    rclone.stop()
    try:
        version = await here.make(1)
        async with asyncio.timeout(60):
            while not (now := await here.versions.get("m", version.id)).reason:
                await asyncio.sleep(0.05)
        assert now.state == "publishing" and now.local
    finally:
        rclone.start()
    async with asyncio.timeout(60):
        now = await here.until(version, "ready")
    assert (now.stored, now.reason) == (True, None)


async def test_a_damaged_version_is_failed_with_the_reason_until_it_is_mended(yard):
    here = await yard()
    source = bundle(here.home.tmp / "run", 1)
    version = await here.versions.publish(source)
    file = version.folder / "w.bin"
    whole = file.read_bytes()
    file.unlink()  # a hard link of the run's: the other one keeps its bytes
    file.write_bytes(b"?" * SIZE)
    await here.keeper.added(version)
    failed = await here.until(version, "failed")
    assert "w.bin" in failed.reason
    file.write_bytes(whole)
    assert (await here.keeper.retry(failed)).state == "publishing"
    assert (await here.until(version, "ready")).stored


async def test_an_import_of_what_was_deleted_is_published_again(yard):
    here = await yard()
    version = await here.make(1)
    await here.keeper.delete(await here.until(version, "ready"))
    assert await here.ids() == []
    again = await here.make(1, origin="import")
    assert (await here.until(again, "ready")).stored


async def test_many_ask_for_a_version_and_it_is_fetched_once(yard):
    first = await yard("a")
    version = await first.make(1)
    await first.until(version, "ready")
    second = await yard("b")
    absent = await second.versions.get("m", "latest")
    assert not absent.local and not absent.folder.exists()
    found = await asyncio.gather(*(second.keeper.local(absent) for _ in range(10)))
    assert all(one.local and one.fetched for one in found)
    assert (absent.folder / "w.bin").read_bytes() == (version.folder / "w.bin").read_bytes()
    shutil.rmtree(absent.folder.parent)  # an operator's hand
    again = await second.keeper.local(found[0])
    assert again.folder.is_dir()


async def test_a_fetched_version_is_here_also_while_its_use_cannot_be_recorded(yard):
    first = await yard("a")
    await first.until(await first.make(1), "ready")
    second = await yard("b")
    await second.keeper.local(await second.versions.get("m", "latest"))
    await second.close()
    await second.open()
    fetched = await second.versions.get("m", "latest")
    assert fetched.fetched
    await second.store.close()
    assert await second.keeper.local(fetched) == fetched
    await asyncio.sleep(0.1)


async def test_who_waits_for_a_fetch_waits_no_longer_than_he_said(yard):
    first = await yard("a")
    await first.until(await first.make(1), "ready")
    second = await yard("b")
    with pytest.raises(Busy, match="being fetched"):
        await second.keeper.local(await second.versions.get("m", "latest"), 0.0)


async def test_copies_beyond_the_limit_go_by_use_but_not_what_is_used_or_made_here(yard):
    first = await yard("a")
    made = [await first.make(number) for number in (1, 2, 3, 4)]
    for version in made:
        await first.until(version, "ready")
    second = await yard("b", limit=2 * SIZE)
    own = await second.make(9)
    await second.until(own, "ready")

    async def local():
        return {version.id for version in await second.versions.list("m") if version.local}

    async def use(version):
        return await second.keeper.local(await second.versions.get("m", version.id))

    for version in made[:2]:
        await use(version)
    second.users.ids = {made[0].id}
    await use(made[2])
    assert await local() == {own.id, made[0].id, made[2].id}
    held = await use(made[2])
    async with second.keeper.holding(held):
        await use(made[3])
        assert await local() == {own.id, made[0].id, made[2].id, made[3].id}
    second.users.ids = set()
    await second.cache.make_room()
    assert own.id in await local() and len(await local()) == 3
    await use(made[0])
    assert (await second.versions.get("m", own.id)).local


@pytest.mark.parametrize("lost", ["models", "packs"])
async def test_a_copy_that_the_store_has_lost_is_not_dropped(yard, tmp_path, lost):
    first = await yard("a")
    made = [await first.make(number) for number in (1, 2)]
    for version in made:
        await first.until(version, "ready")
    second = await yard("b", limit=SIZE)
    await second.keeper.local(await second.versions.get("m", made[0].id))
    store = tmp_path / "store"
    (store / lost).rename(tmp_path / "away")  # somebody empties the bucket
    await second.sync.round()
    await second.cache.make_room(SIZE)
    kept = await second.versions.get("m", made[0].id)
    assert kept.local and kept.folder.is_dir()

    shutil.rmtree(store / lost, ignore_errors=True)
    (tmp_path / "away").rename(store / lost)
    await second.keeper.local(await second.versions.get("m", made[1].id))
    assert not (await second.versions.get("m", made[0].id)).local


async def test_an_unpublished_version_is_never_dropped(yard, tmp_path):
    here = await yard("a", limit=1)
    version = await here.make(1)
    await here.cache.make_room()
    assert (await here.versions.get("m", version.id)).local


async def test_a_store_that_lists_nothing_deletes_nothing(yard, tmp_path):
    here = await yard()
    version = await here.make(1)
    await here.until(version, "ready")
    (tmp_path / "store" / "models").rename(tmp_path / "away")
    await here.sync.round()
    await here.close()
    await here.open()
    assert await here.ids() == [version.id]


async def test_the_moves_of_two_servers_end_in_one_order_on_both(yard):
    first, second = await yard("a"), await yard("b")
    made = [await first.make(number) for number in (1, 2)]
    for version in made:
        await first.until(version, "ready")
    await first.sync.round()
    await second.sync.round()
    # Neither has heard of the other's move.
    await first.aliases.move("m", "production", made[0].id)
    await second.aliases.move("m", "production", made[1].id)
    for one in (first, second, first, second):
        await one.sync.round()
    named = []
    for one in (first, second):
        moves = await one.store.read(lambda c: current_aliases(c, "m"))
        named.append(moves["production"].version)
    assert named[0] == named[1] == made[1].id, "told last, it holds"
    assert {"m"} in first.moved


async def test_a_division_of_one_server_comes_to_the_other_whole(yard):
    first, second = await yard("a"), await yard("b")
    old, new = await first.make(1), await first.make(2)
    for version in (old, new):
        await first.until(version, "ready")
    await first.aliases.move("m", "production", old.id)
    await first.aliases.move("m", "production", Target([(old.id, 9), (new.id, 1)]))
    await first.sync.round()
    await second.sync.round()
    (production,) = [one for one in await second.aliases.list("m") if one.name == "production"]
    assert production.version == old.id  # all that an earlier release sees
    assert production.split == Split(((old.id, 9.0), (new.id, 1.0)))
    assert await second.aliases.naming("m", new.id) == ["production"]


async def test_labels_of_one_server_come_to_the_other_and_later_ones_win(yard):
    first, second = await yard("a"), await yard("b")
    version = await first.make(1)
    await first.until(version, "ready")
    await first.versions.label(version, {"tags": ["x"]})
    await first.sync.round()
    await second.sync.round()
    copy = await second.versions.get("m", version.id)
    assert copy.tags == ("x",)
    await second.versions.label(copy, {"notes": "n"})
    await second.sync.round()
    await first.sync.round()
    now = await first.versions.get("m", version.id)
    assert (now.tags, now.notes) == (("x",), "n")


async def test_what_another_deleted_goes_here_too_with_its_files(yard):
    first, second = await yard("a"), await yard("b")
    old, new = await first.make(1), await first.make(2)
    for version in (old, new):
        await first.until(version, "ready")
    await first.sync.round()
    await second.sync.round()
    await second.keeper.local(await second.versions.get("m", old.id))
    await first.keeper.delete(await first.versions.get("m", old.id))
    await second.sync.round()
    assert await second.ids() == [new.id]
    assert not (second.home.weights / old.id).exists()


async def test_a_deletion_waits_for_the_store(yard, tmp_path):
    here = await yard()
    version = await here.make(1)
    version = await here.until(version, "ready")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(StoreUnavailable):
        await here.keeper.delete(version)
    assert await here.ids() == [version.id] and version.folder.exists()
    (tmp_path / "store").unlink()
    (tmp_path / "away").rename(tmp_path / "store")


async def test_old_versions_go_but_for_the_last_the_best_the_named_and_the_used(yard):
    here = await yard(url=None, policy=Retention(1, "-loss"))
    here.users.ids = {f"{3:032x}"}
    for number in (9, 3, 4):
        await here.make(number)
        if number == 4:
            await here.aliases.move("m", "production", f"{4:032x}")
    await here.make(5)
    await here.aliases.move("m", "production", f"{5:032x}")
    await here.make(6)
    kept = [9, 3, 4, 5, 6]  # best; used; what a rollback needs; production; last
    assert await here.ids() == [f"{number:032x}" for number in reversed(kept)]
    here.users.ids = set()
    await here.make(7)
    assert await here.ids() == [f"{number:032x}" for number in (7, 5, 4, 9)]


async def test_a_fetch_that_was_cut_off_is_kept_for_the_next_start(yard):
    first = await yard("a")
    version = await first.make(1)
    await first.until(version, "ready")
    second = await yard("b")
    half = second.home.weights / f".new-{version.id}"
    stray = second.home.weights / f".new-{'e' * 32}"
    for folder in (half, stray):
        folder.mkdir()
    await second.versions.start()
    assert half.exists() and not stray.exists()
    await second.store.write(lambda c: update_weights(c, version.id, local=True))
    await second.versions.start()
    assert not half.exists()


async def test_a_version_is_deleted_or_gets_an_alias_whichever_comes_first(yard):
    here = await yard(url=None)
    named, going = await here.make(1), await here.make(2)
    await here.aliases.move("m", "mine", named.id)
    with pytest.raises(Conflict, match="the alias mine names it"):
        await here.keeper.delete(named)  # whoever asked has looked before that
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def release(model, version):
        asked.set()
        await goes_on.wait()

    here.users.release = release
    deleting = asyncio.ensure_future(here.keeper.delete(going))
    await asked.wait()
    with pytest.raises(WeightsNotFound, match="is being deleted"):
        await here.aliases.move("m", "mine", going.id)
    goes_on.set()
    await deleting
    assert await here.ids() == [named.id]
    assert (await here.versions.get("m", "mine")).id == named.id


async def test_what_could_not_be_deleted_may_be_named_again(yard):
    here = await yard(url=None)
    version = await here.make(1)

    async def release(model, version):
        raise StoreUnavailable("for the test")

    here.users.release = release
    with pytest.raises(StoreUnavailable):
        await here.keeper.delete(version)
    assert (await here.aliases.move("m", "mine", version.id)).version == version.id


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_deletion_that_was_cut_off_is_completed_or_undone(yard, recorded):
    here = await yard(url=None)
    version = await here.make(1)
    await here.make(2)
    folder = version.folder.parent
    folder.rename(folder.with_name(f".gone-{version.id}"))
    if not recorded:
        await here.store.write(lambda c: delete_weights(c, version.id))
    await here.close()
    await here.open()
    assert folder.exists() is recorded
    assert not list(folder.parent.glob(".*"))
    assert (version.id in await here.ids()) is recorded


async def test_an_archive_that_several_import_at_once_is_listed_and_whole(yard):
    here = await yard(url=None)
    sources = [bundle(here.home.tmp / f"call{n}", 1, origin="import") for n in range(6)]
    for source in sources[1:]:
        shutil.rmtree(source)
        shutil.copytree(sources[0], source)
    versions = await asyncio.gather(*(here.versions.publish(source) for source in sources))
    assert len({version.id for version in versions}) == 1
    assert await here.versions.check(versions[0])
    assert not list(here.home.weights.glob(".*"))
