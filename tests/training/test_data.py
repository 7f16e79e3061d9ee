"""The hash of a folder that a training reads by its name below the data root."""

import os
import signal
import time

import pytest

from modelyard.client.content import content_of
from modelyard.digest import content_digest
from modelyard.storage.datasets.content import counts
from modelyard.storage.datasets.taking import Item, take
from modelyard.training.conclusion import compare_data
from modelyard.training.data import Unknown, folder_digest, named_folder
from modelyard.training.messages import RunOrder
from modelyard.training.paths import read_json, write_json


@pytest.fixture
def folder(tmp_path):
    """A folder of a data root, with odd names, an empty file, and links to a file and a folder."""
    made = tmp_path / "data" / "digits"
    (made / "b" / "deep").mkdir(parents=True)
    (made / "a.txt").write_bytes(b"a" * 3_000_000)
    (made / "b" / "ä ö.bin").write_bytes(b"")
    (made / "b" / "deep" / "1").write_bytes(b"one")
    (made / "b-").write_bytes(b"sorted between")
    (made / ".hidden").write_bytes(b"hidden")
    (made / "linked").symlink_to("b/deep/1")
    (made / "also").symlink_to("b/deep")
    return made


@pytest.fixture
def reading_run(new_run, folder):
    def make(**more):
        run = new_run(module="reading:Reading", dataset="digits")
        order = read_json(run.paths.run)
        told = {"pinned": {"dataset": "digits"}, "data_root": str(folder.parent), **more}
        write_json(run.paths.run, {**order, **told})
        return run

    return make


def dataset_of(run):
    return read_json(run.paths.version_manifest)["dataset"]


def endless(folder):
    """A file without blocks that takes hours to hash."""
    file = folder / "endless"
    with file.open("wb") as opened:
        opened.truncate(4 << 40)
    return file


def test_digest_is_that_of_the_dataset_which_the_same_folder_becomes(folder, tmp_path):
    content = content_of([folder])
    sent = tmp_path / "sent.tar"
    sent.write_bytes(b"".join(content.pieces(0, content.size)))
    taken = take([Item([sent], "digits.tar")], tmp_path / "taken", None, lambda *_: None)
    assert counts(taken.files)["files"] == 7
    assert folder_digest(folder) == content_digest(taken.files)


def test_links_are_not_followed_out_of_the_folder(folder, tmp_path):
    (tmp_path / "secret").write_text("other")
    (folder / "b" / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(Unknown, match=r"'b/out' is a link that leads out of the folder"):
        folder_digest(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b-").write_text("longer than it was before"),
        lambda folder: (folder / "b-").unlink(),
        lambda folder: os.utime(folder / "b-"),
        lambda folder: (folder / "b" / "new").touch(),
        lambda folder: (folder / "b").rename(folder / "c"),
    ],
)
@pytest.mark.parametrize("moment", [9, 15])  # the third chunk of a.txt; a later file
def test_files_that_change_meanwhile_have_no_digest(folder, change, moment):
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == moment:
            change(folder)

    with pytest.raises(Unknown, match="changed while they were hashed"):
        folder_digest(folder, step)


async def test_version_tells_the_folder_and_its_digest(reading_run, folder):
    run = reading_run()
    await run.launch()
    assert (await run.ended())["status"] == "done"
    assert dataset_of(run) == {"id": None, "name": "digits", "digest": folder_digest(folder)}


async def test_problem_is_told_and_fails_no_training(reading_run, folder):
    (folder / "out").symlink_to("/")
    run = reading_run()
    await run.launch()
    assert (await run.ended())["status"] == "done"
    told = dataset_of(run)
    assert (told["name"], told["digest"]) == ("digits", None) and "link" in told["problem"]
    assert "No hash of the data in 'digits'" in run.paths.log.read_text()


@pytest.mark.parametrize(
    "more",
    [
        {"pinned": {"dataset": "../data/digits"}},
        {"pinned": {"dataset": None}},
        {"data_root": None},
    ],
)
async def test_what_names_no_folder_leaves_none(reading_run, more):
    run = reading_run(**{"pinned": {"dataset": "digits"}, **more})
    await run.launch()
    assert (await run.ended())["status"] == "done"
    assert dataset_of(run) is None


def test_clients_name_of_an_upload_is_no_name_of_a_folder(reading_run):
    parts = [{"field": "dataset", "filename": "digits", "path": "none"}]
    for request, named in (({"files": parts}, False), ({"raw": parts[0]}, False), ({}, True)):
        order = RunOrder.from_data(read_json(reading_run(request=request).paths.run))
        assert (named_folder(order) is not None) is named


async def test_cancelled_run_does_not_wait_for_the_hash(reading_run, folder):
    endless(folder)
    run = reading_run()
    await run.launch()
    await run.in_phase("publishing")
    started = time.monotonic()
    await run.cancel()
    assert (await run.ended())["status"] == "cancelled"
    assert time.monotonic() - started < 30
    await run.gone(2)


async def test_hash_that_was_cut_off_is_made_again(reading_run, folder):
    file = endless(folder)
    run = reading_run()
    await run.launch()
    await run.in_phase("publishing")
    run.identity("process").signal(signal.SIGKILL)
    file.unlink()
    assert (await run.ended())["status"] == "done"
    assert dataset_of(run)["digest"] == folder_digest(folder)


async def test_files_that_changed_between_two_attempts_are_told(reading_run, folder):
    run = reading_run()
    write_json(run.paths.data, {"name": "digits", "digest": "0" * 64, "settled": True})
    await run.launch()
    await run.ended()
    told = dataset_of(run)
    assert told["digest"] is None and "between two attempts" in told["problem"]


A = {"id": None, "name": "digits", "digest": "a"}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (A, A, []),
        (None, A, []),
        (A, {**A, "name": "other", "digest": "b"}, []),
        ({**A, "id": "1"}, {**A, "id": "2", "digest": "b"}, []),
        (A, {**A, "digest": "b"}, ["not what they were"]),
        (A, {**A, "id": "1", "digest": "b"}, ["not what they were"]),
        (A, {**A, "digest": None, "problem": "Gone."}, ["not known: Gone."]),
    ],
)
def test_repeat_tells_whether_the_data_are_what_they_were(before, after, words):
    told = list(compare_data(before, after))
    assert len(told) == len(words)
    assert all(word in line and "`digits`" in line for word, line in zip(words, told, strict=True))
