"""Datasets stay what they are over kills and stores, and go only when nothing needs them."""

import asyncio
import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.errors import Conflict, DatasetNotFound, NotFound, StorageUnavailable
from modelyard.records.datasets import (
    change_dataset,
    datasets_of_active_runs,
    find_dataset,
    require_dataset,
    set_run_dataset,
)
from modelyard.records.runs import RunRecord, find_run, insert_run
from modelyard.records.weights import WeightsRecord, insert_weights
from modelyard.schemas.states import Phase, Status
from modelyard.storage.versions import BadVersion


async def none_resumable(ids):
    return []


def run(number, dataset, status=Status.RUNNING):
    phase = Phase.QUEUED if status is Status.RUNNING else Phase.FINISHED
    now = datetime.now(UTC)
    return RunRecord(f"{number:032x}", "m", {}, "", now, status, phase, dataset=dataset)


async def ready(yard, record, **values):
    until = time.monotonic() + 60
    while True:
        now = await yard.datasets.get(record.id)
        if all(getattr(now, name) == value for name, value in values.items()):
            return now
        assert time.monotonic() < until, now
        await asyncio.sleep(0.05)


async def test_lists_have_the_newest_first_in_pages(yard, archive, tmp_path):
    made = []
    for number in range(3):
        packed = archive(tmp_path / f"{number}.zip", {"n.txt": b"%d" % number})
        made.append((await yard.add(packed, name="a" if number else "b"))[0])
    first, following = await yard.datasets.list(2)
    second, last = await yard.datasets.list(2, following)
    assert [record.id for record in first + second] == [record.id for record in made[::-1]]
    assert last is None
    named, _ = await yard.datasets.list(10, name="a")
    assert [(record.name, record.number) for record in named] == [("a", 2), ("a", 1)]


async def test_the_newest_of_a_name_came_last_whatever_the_clock_says(yard, archive, tmp_path):
    first, _ = await yard.add(archive(tmp_path / "1.zip", {"n.txt": b"1"}), name="a")
    ahead = datetime.now(UTC) + timedelta(days=1)  # set right since, or another server's
    await yard.store.write(lambda c: change_dataset(c, first.id, created_at=ahead))
    second, _ = await yard.add(archive(tmp_path / "2.zip", {"n.txt": b"2"}), name="a")
    assert (await yard.datasets.get("a")).id == second.id
    assert (await yard.datasets.get("a@1")).id == first.id


async def test_a_dataset_that_is_needed_is_not_removed_and_the_reason_is_told(
    yard, archive, files, tmp_path
):
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    weights = WeightsRecord("w" * 32, "m", datetime.now(UTC), dataset=record.id)
    await yard.store.write(lambda c: insert_run(c, run(1, record.id)))
    with pytest.raises(Conflict, match=f"not ended.*{1:032x}"):
        await yard.datasets.delete(record, none_resumable)
    other = await yard.store.write(lambda c: insert_run(c, run(2, None, Status.ERROR)))
    await yard.store.write(lambda c: insert_weights(c, weights))
    with pytest.raises(Conflict, match=r"weights versions.*wwww"):
        await yard.datasets.delete(record, none_resumable)
    assert yard.content(record) == files
    assert await yard.store.read(datasets_of_active_runs) == {record.id}
    assert other.dataset is None


async def test_an_ended_run_needs_its_dataset_as_long_as_it_can_be_resumed(
    yard, archive, files, tmp_path
):
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    ended = await yard.store.write(lambda c: insert_run(c, run(1, record.id, Status.ERROR)))

    async def all_resumable(ids):
        return ids

    with pytest.raises(Conflict, match=f"can be resumed.*{ended.id}"):
        await yard.datasets.delete(record, all_resumable)
    await yard.datasets.delete(record, none_resumable)
    with pytest.raises(DatasetNotFound):
        await yard.datasets.get(record.id)
    assert list(yard.home.datasets.iterdir()) == []
    with pytest.raises(Conflict, match="deleted meanwhile"):
        await yard.store.write(lambda c: require_dataset(c, record.id))


async def test_what_shared_its_files_stays_whole_when_the_other_is_removed(
    yard, archive, files, tmp_path
):
    first, _ = await yard.add(archive(tmp_path / "x.zip", files))
    other, _ = await yard.add(archive(tmp_path / "y.zip", files), name="other")
    await yard.datasets.delete(first, none_resumable)
    assert yard.content(other) == files


async def test_an_upload_of_a_run_is_told_in_its_record_and_its_weights(yard):
    made = await yard.store.write(lambda c: insert_run(c, run(1, None)))
    weights = WeightsRecord("w" * 32, "m", datetime.now(UTC), run=made.id)
    await yard.store.write(lambda c: insert_weights(c, weights))
    await yard.store.write(lambda c: set_run_dataset(c, made.id, "d" * 32))
    now = await yard.store.read(lambda c: find_run(c, made.id))
    assert (now.dataset, now.rev) == ("d" * 32, made.rev + 1)


# -- after a kill ----------------------------------------------------------------------------------


async def test_a_bundle_whose_record_was_not_written_is_listed_by_the_next_server(
    new_yard, archive, files, tmp_path
):
    yard = await new_yard()
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    await yard.stop()
    shutil.copytree(yard.home.root / "datasets", tmp_path / "kept")
    other = await new_yard("other")
    await other.stop()
    shutil.copytree(tmp_path / "kept", other.home.datasets, dirs_exist_ok=True)
    other = await new_yard("other")
    found = await other.datasets.get("things@1")
    assert (found.id, found.digest, found.files) == (record.id, record.digest, 3)


async def test_what_was_half_taken_in_or_half_removed_is_gone_after_a_restart(
    new_yard, archive, files, tmp_path
):
    yard = await new_yard()
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    root = yard.home.datasets
    (root / f".ingest-{'1' * 32}" / "files").mkdir(parents=True)
    (root / f".gone-{'2' * 32}").mkdir()
    (root / record.id).rename(root / f".gone-{record.id}")  # its record is still there
    await yard.stop()
    yard = await new_yard()
    assert [path.name for path in root.iterdir()] == [record.id]
    assert yard.content(await yard.datasets.get(record.id)) == files


async def test_a_dataset_whose_files_are_gone_says_so(new_yard, archive, files, tmp_path):
    yard = await new_yard()
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    shutil.rmtree(yard.home.datasets / record.id)
    await yard.stop()
    yard = await new_yard()
    found = await yard.datasets.get(record.id)
    assert found.state == "failed" and "missing" in (found.reason or "")
    with pytest.raises(StorageUnavailable, match="missing"):
        await yard.datasets.files(found)


# -- with a store ----------------------------------------------------------------------------------


async def test_a_dataset_is_published_and_another_server_fetches_it_when_it_is_used(
    new_yard, archive, files, tmp_path
):
    url = str(tmp_path / "store")
    here = await new_yard("here", url)
    record, _ = await here.add(archive(tmp_path / "x.zip", files))
    assert record.state == "publishing"
    await ready(here, record, state="ready", stored=True)

    there = await new_yard("there", url)
    mirror = there.datasets.shelf
    async for page in there.office.changes():
        for bundle in page.published:
            await there.store.write(lambda c, b=bundle: mirror.upsert(c, b.key, b.manifest))
    found = await there.datasets.get("things@1")
    assert (found.id, found.digest, found.statistics) == (
        record.id, record.digest, record.statistics,
    )  # fmt: skip
    assert (found.local, found.stored, found.state) == (False, True, "ready")
    folders = await asyncio.gather(*(there.datasets.files(found) for _ in range(3)))
    assert folders[0] == there.home.datasets / record.id / "files"
    assert there.content(found) == files
    now = await there.datasets.get(record.id)
    assert now.local and now.used_at is not None
    assert [item.id for item in await mirror.fetched()] == [record.id]

    await here.datasets.delete(await here.datasets.get(record.id), none_resumable)
    async for page in there.office.changes():
        for key in page.deleted:
            await mirror.deleted(key)
    assert await there.datasets.find(record.id) is None
    assert list(there.home.datasets.iterdir()) == []


async def test_a_server_that_gets_a_store_publishes_what_it_had(new_yard, archive, files, tmp_path):
    yard = await new_yard()
    record, _ = await yard.add(archive(tmp_path / "x.zip", files))
    assert record.state == "ready"
    await yard.stop()
    yard = await new_yard(url=str(tmp_path / "store"))
    await ready(yard, record, state="ready", stored=True)
    manifest = json.loads((tmp_path / f"store/datasets/{record.id}.json").read_text())
    assert manifest["digest"] == record.digest


async def test_a_manifest_that_is_none_of_a_dataset_is_refused(yard, tmp_path: Path):
    whole = {"id": "0" * 32, "kind": "dataset", "name": "x", "files": [], "digest": "0" * 64}
    whole["created_at"] = "2026-11-21T10:00:00+00:00"
    wrongs = {"name": "../x", "number": 2**63 - 1, "model": 5, "digest": "x" * 10**6}
    wrongs |= {"statistics": [1], "report": "all is well", "source": [1]}
    for wrong in ({}, *({**whole, name: value} for name, value in wrongs.items())):
        with pytest.raises(BadVersion):
            await yard.store.write(lambda c, w=wrong: yard.datasets.shelf.upsert(c, "key", w))
    assert await yard.store.read(lambda c: find_dataset(c, "0" * 32)) is None


async def test_what_was_deleted_while_it_was_fetched_is_not_left(yard):
    folder = yard.home.datasets / ("d" * 32)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(NotFound, match="was deleted"):
        await yard.datasets.shelf.came(folder.name)
    assert list(yard.home.datasets.iterdir()) == []
