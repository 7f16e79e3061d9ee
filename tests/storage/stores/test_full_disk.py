"""A full disk, of the store or of who fetches: told as that, and nothing stored is harmed."""

import os
import subprocess

import pytest

from modelyard.errors import DiskFull, ObjectMissing
from modelyard.storage.stores.opening import open_store

from .conftest import PART

ROOM = 2 * 1024**2


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MiB; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def names(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_folder_whose_disk_is_full_keeps_what_it_has(small, payload, tmp_path):
    store = open_store(str(small / "store"), {})
    store.open()
    first, large = payload(500_000, "first"), payload(2 * ROOM, "large")
    store.put_file("a", first.path, first.size, first.digests)
    moved = []
    for key in ("a", "b"):
        with pytest.raises(DiskFull, match=r"No space left .*make room"):
            store.put_file(key, large.path, large.size, large.digests, moved.append)
    with pytest.raises(DiskFull):
        store.put_bytes("a", large.data)
    with pytest.raises(DiskFull):
        store.put_bytes("c", large.data, if_absent=True)
    assert names(small / "store") == ["a"], "nothing is left of what failed"
    store.get_file("a", tmp_path / "got", first.size, first.digests)
    store.put_bytes("d", b"there is room for this")


@pytest.mark.parametrize("store", ["folder", "moto"], indirect=True)
@pytest.mark.parametrize("size", [PART - 1, 9 * PART])
def test_a_download_to_a_full_disk_leaves_nothing_and_keeps_what_was_there(
    store, small, payload, tmp_path, size
):
    sent = payload(size)
    store.put_file("a", sent.path, sent.size, sent.digests)
    (small / "filler").write_bytes(bytes(max(0, ROOM - size) + 100_000 if size < ROOM else 0))
    target = small / "got"
    target.write_bytes(b"old")
    with pytest.raises(DiskFull, match=r"got: No space left .*make room"):
        store.get_file("a", target, sent.size, sent.digests)
    assert names(small) == ["filler", "got"] and target.read_bytes() == b"old"
    (small / "filler").unlink()
    if size < ROOM:
        store.get_file("a", target, sent.size, sent.digests)
        assert target.read_bytes() == sent.data
    assert store.stat("a").size == size


@pytest.mark.parametrize("store", ["folder", "moto"], indirect=True)
def test_a_place_that_is_not_there_is_no_missing_object(store, payload, tmp_path):
    sent = payload(1000)
    store.put_file("a", sent.path, sent.size, sent.digests)
    with pytest.raises(OSError) as raised:
        store.get_file("a", tmp_path / "no" / "got", sent.size, sent.digests)
    assert not isinstance(raised.value, ObjectMissing)
