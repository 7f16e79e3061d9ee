"""A process that packs or unpacks and is stopped by a signal holds its call for seconds only."""

import asyncio
import os
import random
import signal
import subprocess

import pytest

from modelyard.errors import ModelyardError, StorageUnavailable
from modelyard.storage.archives.export import export
from modelyard.storage.archives.formats import ArchiveFormat
from modelyard.storage.archives.processes import exported, imported

LARGE = {"model.bin": random.Random(1).randbytes(8 << 20)}


def stop_its_process() -> None:
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True
    )
    (pid,) = [int(line.split()[0]) for line in listed.stdout.splitlines() if b"archives" in line]
    os.kill(pid, signal.SIGSTOP)


async def test_an_archive_that_is_packed_by_a_stopped_process_is_cut_off(make_version):
    pieces = exported(make_version(contents=LARGE), ArchiveFormat.ZIP)
    assert await anext(pieces)
    stop_its_process()
    with pytest.raises(StorageUnavailable, match="was ended"):
        async for _ in pieces:
            pass


async def test_an_import_by_a_stopped_process_fails_and_the_next_one_does_not(
    make_version, tmp_path
):
    packed, target = tmp_path / "packed", tmp_path / ("0123456789abcdef" * 2)
    with packed.open("wb") as file:
        export(make_version(contents=LARGE), ArchiveFormat.ZIP, file)
    first = asyncio.create_task(imported(packed, target, "a.zip", "m"))
    await asyncio.sleep(0.05)
    stop_its_process()
    with pytest.raises(ModelyardError, match="ended with code -9"):
        await first
    assert not target.exists()
    await imported(packed, target, "a.zip", "m")
    assert (target / "manifest.json").exists()
