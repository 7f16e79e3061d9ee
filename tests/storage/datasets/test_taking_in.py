"""What clients send becomes a dataset: whole, once, or not at all."""

import asyncio
import gzip
import hashlib
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from modelyard.errors import BadArchive, InvalidArguments, StorageUnavailable
from modelyard.storage.datasets.ingestion import Ingestion
from modelyard.storage.datasets.service import Incoming, Reading
from modelyard.storage.datasets.taking import Item

KINDS = [".zip", ".tar", ".tar.xz"]


async def test_the_same_content_has_one_digest_whatever_it_is_packed_in(
    yard, archive, files, tmp_path
):
    found = set()
    for number, kind in enumerate(KINDS):
        names = sorted(files, reverse=bool(number % 2))
        packed = archive(tmp_path / f"x{kind}", {n: files[n] for n in names}, time=number)
        record, created = await yard.add(packed, name=f"as-{number}")
        assert created and yard.content(record) == files
        found.add(record.digest)
    items = []
    for name, data in files.items():
        path = yard.home.tmp / hashlib.sha256(name.encode()).hexdigest()
        path.write_bytes(data)
        items.append(Item([path], name))
    record, _ = await yard.datasets.add(Incoming(items, name="one-by-one"))
    assert {*found, record.digest} == {record.digest}
    assert not list(yard.home.tmp.glob("*.*")), "what came is still there"


async def test_a_bundle_has_a_manifest_with_every_file(yard, archive, files, tmp_path):
    record, _ = await yard.add(archive(tmp_path / "x.zip", files), source={"kind": "upload"})
    manifest = json.loads((yard.home.datasets / record.id / "manifest.json").read_text())
    assert (manifest["kind"], manifest["name"], manifest["number"]) == ("dataset", "things", 1)
    assert manifest["digest"] == record.digest
    assert {f["path"]: f["sha256"] for f in manifest["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert (record.files, record.size) == (3, sum(map(len, files.values())))
    assert record.statistics["folders"]["train"]["files"] == 2


async def test_identical_content_is_stored_once(yard, archive, files, tmp_path):
    first, created = await yard.add(archive(tmp_path / "x.zip", files))
    again, created_again = await yard.add(archive(tmp_path / "y.tar.xz", files))
    assert (created, created_again) == (True, False)
    assert again.id == first.id
    other, created = await yard.add(archive(tmp_path / "z.zip", files), name="other")
    assert created and other.id != first.id and other.digest == first.digest
    inodes = [
        (yard.home.datasets / record.id / "files/train/b/1.txt").stat().st_ino
        for record in (first, other)
    ]
    assert inodes[0] == inodes[1]


async def test_a_new_version_shares_the_files_that_did_not_change(yard, archive, files, tmp_path):
    first, _ = await yard.add(archive(tmp_path / "x.zip", files))
    second, _ = await yard.add(archive(tmp_path / "y.zip", {**files, "new.txt": b"new"}))
    assert (first.number, second.number) == (1, 2)
    assert (await yard.datasets.get("things")).id == second.id
    assert (await yard.datasets.get("things@1")).id == first.id
    of_both = [
        (yard.home.datasets / r.id / "files/train/b/1.txt").stat().st_ino for r in (first, second)
    ]
    assert of_both[0] == of_both[1]


async def test_a_file_that_the_disk_has_spoilt_is_not_spread(yard, archive, files, tmp_path):
    first, _ = await yard.add(archive(tmp_path / "x.zip", files))
    spoilt = yard.home.datasets / first.id / "files/train/b/1.txt"
    spoilt.write_bytes(b"X" + spoilt.read_bytes()[1:])
    other, _ = await yard.add(archive(tmp_path / "y.zip", files), name="other")
    assert yard.content(other) == files


async def test_equal_files_of_one_dataset_stay_two_files(yard, archive, tmp_path):
    twins = {"a/1.txt": b"same" * 500, "b/1.txt": b"same" * 500}
    await yard.add(archive(tmp_path / "x.zip", twins))
    other, _ = await yard.add(archive(tmp_path / "y.zip", {**twins, "c.txt": b""}))
    root = yard.home.datasets / other.id / "files"
    assert (root / "a/1.txt").stat().st_ino != (root / "b/1.txt").stat().st_ino


@pytest.mark.parametrize(
    ("name", "content", "path"),
    [
        ("table.csv", b"a,b\n", "table.csv"),
        ("table.csv.gz", gzip.compress(b"a,b\n", mtime=0), "table.csv.gz"),
        ("", b"a,b\n", "data"),
        ("folder/table.csv", b"a,b\n", "folder/table.csv"),
    ],
)
async def test_a_single_file_that_is_no_archive_is_kept_as_it_is(
    yard, tmp_path, name, content, path
):
    (tmp_path / "upload").write_bytes(content)
    incoming = Incoming([Item([tmp_path / "upload"], name)], name="single")
    record, _ = await yard.datasets.add(incoming)
    root = yard.home.datasets / record.id / "files"
    assert (root / path).read_bytes() == content
    assert record.source == {"unpacked": False}


async def test_a_workbook_which_is_a_zip_inside_is_not_unpacked(yard, archive, files, tmp_path):
    packed = archive(tmp_path / "x.zip", files).rename(tmp_path / "book.xlsx")
    record, _ = await yard.add(packed)
    assert record.files == 1


@pytest.mark.parametrize(
    ("name", "content"), [("x.zip", b"no zip"), ("x.tar.gz", gzip.compress(b"no tar", mtime=0))]
)
async def test_what_calls_itself_an_archive_and_is_none_is_refused(yard, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadArchive):
        await yard.add(tmp_path / name)
    assert list(yard.home.datasets.iterdir()) == []
    assert await yard.datasets.find("things") is None


@pytest.mark.parametrize(
    "names",
    [["../out.txt"], ["/etc/passwd"], ["a.txt", "a.txt"], ["a", "a/b"], ["."]],
)
async def test_names_of_files_that_lead_out_or_clash_are_refused(yard, tmp_path, names):
    items = []
    for number, name in enumerate([*names, "well.txt"]):
        path = tmp_path / f"{number}"
        path.write_bytes(b"x")
        items.append(Item([path], name))
    with pytest.raises(BadArchive):
        await yard.datasets.add(Incoming(items, name="bad"))
    assert list(yard.home.datasets.iterdir()) == []


async def test_other_bytes_than_were_announced_are_refused(yard, archive, files, tmp_path):
    packed = archive(tmp_path / "x.zip", files)
    right = hashlib.sha256(packed.read_bytes()).hexdigest()
    with pytest.raises(InvalidArguments) as caught:
        await yard.add(packed, sha256="0" * 64)
    assert right in caught.value.errors["sha256"][0]
    assert (await yard.add(packed, sha256=right.upper()))[1]


async def test_a_reader_tells_statistics_and_problems(new_yard, archive, files, tmp_path):
    async def read(model: str, folder: Path) -> Reading:
        assert model == "m" and (folder / "train/a/0.txt").exists()
        return Reading({"classes": ["a", "b"]}, {"problems": [], "errors": 0})

    yard = await new_yard(read=read)
    record, _ = await yard.add(archive(tmp_path / "x.zip", files), model="m")
    assert record.statistics["classes"] == ["a", "b"] and record.statistics["files"] == 3
    assert record.report == {"problems": [], "errors": 0}


async def test_two_that_come_at_once_get_two_numbers(yard, archive, tmp_path):
    packed = [archive(tmp_path / f"{n}.zip", {"n.txt": b"%d" % n}) for n in range(3)]
    found = await asyncio.gather(*(yard.add(path) for path in packed))
    assert sorted(record.number for record, _ in found) == [1, 2, 3]


async def test_the_same_content_that_comes_twice_at_once_is_one_version(yard, archive, tmp_path):
    packed = [archive(tmp_path / f"{n}.zip", {"n.txt": b"same"}, time=n) for n in range(3)]
    found = await asyncio.gather(*(yard.add(path) for path in packed))
    assert len({record.id for record, _ in found}) == 1
    assert [created for _, created in found].count(True) == 1


async def test_a_disk_that_takes_no_more_is_told_and_harms_nothing(yard, archive, files, tmp_path):
    first, _ = await yard.add(archive(tmp_path / "x.zip", files))
    big = archive(tmp_path / "big.zip", {"big.txt": bytes(3_000_000)})
    copy = yard.home.tmp / "copy.zip"
    copy.write_bytes(big.read_bytes())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # of the ingest process too
    try:
        with pytest.raises(StorageUnavailable):
            await yard.datasets.add(Incoming([Item([copy], "copy.zip")], name="big"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in yard.home.datasets.iterdir()] == [first.id]
    assert yard.content(first) == files


def processes_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_ingest_process_that_is_killed_or_stopped_fails_its_dataset_alone(
    tmp_path, archive, files, harm
):
    root = tmp_path / "datasets"
    root.mkdir()
    packed = archive(tmp_path / "x.zip", files)
    async with Ingestion(root, "0" * 32, tmp_path / "log", lambda *_: None) as ingestion:
        content = await ingestion.take([Item([packed], "x.zip")])
        assert content.files == 3
        assert ingestion._process is not None
        os.kill(ingestion._process.pid, harm)
        with pytest.raises(StorageUnavailable, match="ended before"):
            await ingestion.seal({"id": "0" * 32}, [])
    assert list(root.iterdir()) == []
