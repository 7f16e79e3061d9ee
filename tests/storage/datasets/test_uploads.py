"""Uploads in parts: any order, again, over restarts; whole parts or none."""

import hashlib
import os
import time

import pytest

from modelyard.errors import DiskFull, InvalidArguments, UploadNotFound
from modelyard.storage.datasets.uploads import (
    KEPT_S,
    MOST_PARTS,
    PART_SIZE,
    Upload,
    Uploads,
    described,
    part_size_for,
)

SIZE = 25


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path)


@pytest.fixture
def upload(uploads):
    """25 bytes in parts of 10."""
    return uploads.create("x.bin", SIZE, part_limit=10)


def put(uploads, upload, number, data, sha256=None):
    part = uploads.part(upload, number)
    try:
        for start in range(0, len(data), 4):
            part.write(data[start : start + 4])
        part.commit(sha256)
    finally:
        part.close()


def test_parts_come_in_any_order_and_again(uploads, upload):
    assert (upload.parts, [upload.size_of(n) for n in (1, 2, 3)]) == (3, [10, 10, 5])
    put(uploads, upload, 3, b"c" * 5)
    put(uploads, upload, 1, b"x" * 10)
    assert uploads.received(upload) == [1, 3]
    put(uploads, upload, 1, b"a" * 10)
    put(uploads, upload, 2, b"b" * 10)
    assert uploads.received(upload) == [1, 2, 3]
    whole = b"".join(path.read_bytes() for path in uploads.paths(upload))
    assert whole == b"a" * 10 + b"b" * 10 + b"c" * 5


def test_an_upload_is_found_by_another_server_on_the_home(uploads, upload, tmp_path):
    put(uploads, upload, 2, b"b" * 10)
    other = Uploads(tmp_path)
    assert other.get(upload.id) == upload
    assert other.received(other.get(upload.id)) == [2]


@pytest.mark.parametrize("data", [b"", b"a" * 9, b"a" * 11, b"a" * 1000])
def test_a_part_of_another_size_is_refused(uploads, upload, data):
    with pytest.raises(InvalidArguments):
        put(uploads, upload, 1, data)
    assert uploads.received(upload) == []
    assert list((uploads._root / upload.id / "parts").iterdir()) == []


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_part_that_there_is_not_is_refused(uploads, upload, number):
    with pytest.raises(InvalidArguments):
        put(uploads, upload, number, b"")


def test_a_part_with_other_bytes_than_announced_is_refused(uploads, upload):
    put(uploads, upload, 1, b"a" * 10, hashlib.sha256(b"a" * 10).digest())
    with pytest.raises(InvalidArguments):
        put(uploads, upload, 1, b"b" * 10, hashlib.sha256(b"a" * 10).digest())
    assert uploads.paths(upload)[0].read_bytes() == b"a" * 10


def test_half_a_part_of_a_killed_server_is_no_part(uploads, upload):
    part = uploads.part(upload, 1)
    part.write(b"aaaa")  # the server is killed here: nothing is closed
    assert uploads.received(upload) == []
    uploads.remove_stale()
    assert list((uploads._root / upload.id / "parts").iterdir()) == []
    part.close()


def test_small_files_are_one_part_and_large_ones_never_too_many(uploads):
    assert uploads.create("x", 100).parts == 1
    assert uploads.create("x", PART_SIZE + 1).parts == 2
    huge = Upload("0" * 32, "x", 1 << 40, part_size_for(1 << 40), "")
    assert huge.parts <= MOST_PARTS
    assert sum(huge.size_of(number) for number in (1, huge.parts)) > huge.part_size


def test_an_upload_that_the_disk_cannot_take_is_refused_at_once(uploads, tmp_path):
    with pytest.raises(DiskFull):
        uploads.create("x", 1 << 60)
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_is_remembered_and_its_bytes_are_gone(uploads, upload):
    put(uploads, upload, 1, b"a" * 10)
    done = uploads.finish(upload, "d" * 32, created=True)
    assert uploads.get(upload.id) == done and done.dataset == "d" * 32
    assert uploads.received(done) == []
    assert not (uploads._root / upload.id / "parts").exists()


def test_an_upload_that_is_removed_takes_no_parts(uploads, upload):
    part = uploads.part(upload, 1)
    uploads.remove(upload.id)
    part.write(b"a" * 10)
    with pytest.raises(UploadNotFound):
        part.commit(None)
    part.close()
    with pytest.raises(UploadNotFound):
        uploads.get(upload.id)
    with pytest.raises(UploadNotFound):
        uploads.remove(upload.id)


def test_uploads_that_nobody_went_on_with_are_removed(uploads, upload):
    other = uploads.create("y", 5)
    long_ago = time.time() - KEPT_S - 60
    for path in [uploads._root / upload.id, *(uploads._root / upload.id).iterdir()]:
        os.utime(path, (long_ago, long_ago))
    uploads.remove_stale()
    assert [path.name for path in uploads._root.iterdir()] == [other.id]


@pytest.mark.parametrize("name", ["..", "x" * 32, "../../etc"])
def test_an_id_that_is_none_is_not_found(uploads, name):
    with pytest.raises(UploadNotFound):
        uploads.get(name)


def test_numbers_are_told_as_ranges():
    assert described([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


def test_an_id_that_is_none_leads_nowhere(tmp_path):
    uploads = Uploads(tmp_path / "uploads")
    (tmp_path / "uploads").mkdir()
    upload = uploads.create("x.bin", SIZE)
    # What a stranger's dataset could hold: an upload of another folder.
    elsewhere = tmp_path / "files"
    (tmp_path / "uploads" / upload.id).rename(elsewhere)
    for wrong in ("../files", str(elsewhere), "files", "", ".", "a" * 300, "a\0b"):
        with pytest.raises(UploadNotFound):
            uploads.get(wrong)
        with pytest.raises(UploadNotFound):
            uploads.remove(wrong)
    assert elsewhere.is_dir()


def test_an_upload_that_says_to_be_another_is_none(uploads, upload, tmp_path):
    (tmp_path / upload.id).rename(tmp_path / ("0" * 32))
    with pytest.raises(UploadNotFound):
        uploads.get("0" * 32)
