"""A weights version of the checkpoint that the run did not publish."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess

import pytest

from modelyard.errors import DiskFull, InvalidArguments, NotFound
from modelyard.storage.versions import install_version, read_manifest
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.promotion import promote

from .conftest import run_folder


@pytest.fixture
def paths(tmp_path):
    made = run_folder(tmp_path / "runs")
    checkpoints = Checkpoints(made)
    for step, metric in ((5, 0.9), (9, 0.4)):
        with checkpoints.save(step, metric, True, {"accuracy": metric}) as checkpoint:
            (checkpoint.weights / "w.bin").write_bytes(bytes([step]) * 10)
    return made


async def test_last_checkpoint_becomes_a_version_that_can_be_installed(paths, tmp_path):
    folder = await promote(paths, "last")
    manifest = read_manifest(folder)
    assert (manifest.run, manifest.step, manifest.checkpoint) == (paths.id, 9, "last")
    assert manifest.metrics == {"accuracy": 0.4}
    assert manifest.files[0]["sha256"] == hashlib.sha256(bytes([9]) * 10).hexdigest()
    root = tmp_path / "weights"
    root.mkdir()
    install_version(folder, root)
    assert (root / manifest.id / "files" / "w.bin").read_bytes() == bytes([9]) * 10
    best = read_manifest(await promote(paths, "best"))
    assert (best.step, best.id != manifest.id) == (5, True)


async def test_promoted_twice_it_is_the_same_version(paths):
    first = read_manifest(await promote(paths, "best")).id
    assert read_manifest(await promote(paths, "best")).id == first


async def test_what_is_not_there_is_told(paths, tmp_path):
    with pytest.raises(InvalidArguments):
        await promote(paths, "../best")
    others = run_folder(tmp_path / "others")
    with pytest.raises(NotFound, match=r"no checkpoint best\. It has none\."):
        await promote(others, "best")
    with Checkpoints(others).save(3, None, True, {}) as checkpoint:
        (checkpoint.weights / "w.bin").write_bytes(b"w")
    with pytest.raises(NotFound, match=r"no checkpoint best\. It has: last\."):
        await promote(others, "best")


async def test_full_disk_is_told_and_the_checkpoints_are_as_before(paths, full_disk):
    # Across file systems the files are copied: the run's folder for promotions lies on a full one.
    paths.promoted.symlink_to(full_disk(room=4096), target_is_directory=True)
    with paths.checkpoint(9).joinpath("weights", "w.bin").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(DiskFull):
        await promote(paths, "last")
    assert os.listdir(paths.checkpoint(9) / "weights") == ["w.bin"]  # noqa: PTH208


@pytest.fixture
def full_disk(tmp_path):
    """Makes a file system of its own with so many bytes left; needs the right to mount."""
    mounted = []

    def make(room):
        folder = tmp_path / "small"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a small file system")
        mounted.append(folder)
        with (folder / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
            file.truncate(file.tell() - room)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
