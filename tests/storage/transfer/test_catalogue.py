"""Servers that share a store learn what the others published, deleted and moved."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from yard_bundles import key_of, make_bundle, office_at

from modelyard.storage.transfer.results import Changes


async def all_changes(office, known=None) -> Changes:
    pages = [page async for page in office.changes(known)]
    return Changes(
        tuple(item for page in pages for item in page.published),
        tuple(key for page in pages for key in page.deleted),
        tuple(entry for page in pages for entry in page.registers),
        tuple(text for page in pages for text in page.problems),
    )


def write_manifests(store: Path, count: int) -> list[str]:
    """Manifests in a folder store, the oldest version first."""
    keys = []
    for number in range(count):
        identity = f"{(number * 7919) % count:032x}"
        place = store / "models" / "m" / "weights" / f"{identity}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        created = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"
        manifest = {"id": identity, "model": "m", "created_at": created, "files": []}
        place.write_text(json.dumps(manifest))
        keys.append(f"models/m/weights/{identity}")
    return keys


async def test_every_server_hears_once_of_what_another_one_did(here, there, tmp_path):
    first = make_bundle(tmp_path, {"a": b"a"}, created_at="2026-11-21T10:00:00+00:00")
    second = make_bundle(tmp_path, {"a": b"b"}, created_at="2026-11-21T09:30:00-01:00")
    assert await all_changes(there) == Changes()
    for folder in (second, first):
        await here.publish("weights", key_of(folder), folder)
    assert await here.move("models/m/aliases/production", {"version": first.name}, 1) == 1

    heard = await all_changes(there)
    assert [item.key for item in heard.published] == [key_of(first), key_of(second)]
    assert heard.published[0].kind == "weights"
    assert heard.published[0].manifest == json.loads((first / "manifest.json").read_text())
    (entry,) = heard.registers
    assert (entry.register, entry.counter) == ("models/m/aliases/production", 1)
    assert entry.value == {"version": first.name}
    assert await all_changes(there) == Changes()

    await here.delete(key_of(first))
    assert await there.move("models/m/aliases/production", {"version": second.name}, 1) == 2
    heard = await all_changes(there)
    assert heard.deleted == (key_of(first),)
    assert [entry.counter for entry in heard.registers] == [2]
    assert await all_changes(there) == Changes()

    await here.publish("weights", key_of(first), first, undelete=True)
    heard = await all_changes(there)
    assert [item.key for item in heard.published] == [key_of(first)]


async def test_a_thousand_versions_come_in_pages_in_the_order_of_their_creation(local, tmp_path):
    keys = write_manifests(tmp_path / "store", 1200)
    pages = [page async for page in local.changes()]
    assert [len(page.published) for page in pages] == [500, 500, 200]
    assert [item.key for page in pages for item in page.published] == keys


async def test_a_page_that_was_not_worked_off_is_told_again_by_another_process_too(tmp_path):
    keys = write_manifests(tmp_path / "store", 1100)
    async with office_at(tmp_path / "here", str(tmp_path / "store")) as office:
        async for page in office.changes():
            if page.published[0].key == keys[500]:
                break
        page = await anext(office.changes())
        assert [item.key for item in page.published] == keys[500:1000]
    async with office_at(tmp_path / "here", str(tmp_path / "store")) as office:
        assert [item.key for item in (await all_changes(office)).published] == keys[500:]
        assert await all_changes(office) == Changes()


async def test_a_caller_that_says_what_it_knows_hears_all_the_rest(local, tmp_path):
    keys = write_manifests(tmp_path / "store", 5)
    await local.move("models/m/labels/x", {"tags": ["a"]}, 1)
    await all_changes(local)
    await local.delete(keys[0])
    heard = await all_changes(local, known=keys[:3])
    assert [item.key for item in heard.published] == keys[3:]
    assert heard.deleted == (keys[0],)
    assert len(heard.registers) == 1
    assert await all_changes(local) == Changes()


async def test_a_store_that_lists_nothing_deletes_nothing(local, tmp_path):
    write_manifests(tmp_path / "store", 3)
    await all_changes(local)
    shutil.rmtree(tmp_path / "store" / "models")
    assert await all_changes(local) == Changes()


async def test_a_manifest_that_cannot_be_read_is_told_once_and_hides_no_other(local, tmp_path):
    keys = write_manifests(tmp_path / "store", 3)
    bad = tmp_path / "store" / f"{keys[1]}.json"
    bad.write_text("{")
    foreign = tmp_path / "store" / "models" / "m" / "weights" / "notes.json"
    foreign.write_text("mine")
    heard = await all_changes(local)
    assert [item.key for item in heard.published] == [keys[0], keys[2]]
    assert len(heard.problems) == 1 and keys[1] in heard.problems[0]
    assert await all_changes(local) == Changes()
    write_manifests(tmp_path / "store", 3)
    assert [item.key for item in (await all_changes(local)).published] == [keys[1]]


async def test_a_damaged_memory_is_made_anew(local, tmp_path):
    keys = write_manifests(tmp_path / "store", 3)
    await all_changes(local)
    (memory,) = (tmp_path / "here" / "store").rglob("catalogue.db")
    await local.close()
    memory.write_bytes(b"SQLite format 3\0" + b"?" * 8000)
    async with office_at(tmp_path / "here2", str(tmp_path / "store")) as office:
        place = tmp_path / "here2" / "store" / memory.parent.name
        place.mkdir(parents=True)
        shutil.copy(memory, place / "catalogue.db")
        assert [item.key for item in (await all_changes(office)).published] == keys


async def test_of_moves_at_the_same_moment_all_servers_take_the_same_one(tmp_path):
    url = str(tmp_path / "store")
    async with (
        office_at(tmp_path / "a", url) as a,
        office_at(tmp_path / "b", url) as b,
        office_at(tmp_path / "c", url) as c,
    ):
        offices = (a, b, c)
        register = "models/m/aliases/production"
        for counter in (1, 2, 3):
            moves = [o.move(register, {"by": n}, counter) for n, o in enumerate(offices)]
            await asyncio.gather(*moves)
            seen = [(await all_changes(office)).registers for office in offices]
            assert len({json.dumps(entries[0].value) for entries in seen}) == 1


@pytest.mark.parametrize("value", [{"big": 2**70}, {"text": "é\u0000\n"}, {}])
async def test_a_register_gives_back_what_was_put_into_it(local, value):
    await local.move("models/m/labels/x", value, 7)
    (entry,) = (await all_changes(local)).registers
    assert (entry.counter, entry.value) == (7, value)
