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


async def stop_its_process() -> None:
    """The one that this process has begun, as soon as it is there."""
    command = ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    async with asyncio.timeout(60):
        while True:
            listed = subprocess.run(command, capture_output=True).stdout.splitlines()
            for line in listed:
                if b"archives" in line:
                    return os.kill(int(line.split()[0]), signal.SIGSTOP)
            await asyncio.sleep(0.02)


async def test_an_archive_that_is_packed_by_a_stopped_process_is_cut_off(make_version):
    pieces = exported(make_version(contents=LARGE), ArchiveFormat.ZIP)
    assert await anext(pieces)
    await stop_its_process()
    with pytest.raises(StorageUnavailable, match="was ended"):
        async for _ in pieces:
            pass


async def test_an_import_by_a_stopped_process_fails_and_the_next_one_does_not(
    make_version, tmp_path
):
    packed, target = tmp_path / "packed", tmp_path / ("0123456789abcdef" * 2)
    with packed.open("wb") as file:
        export(make_version(contents=LARGE), ArchiveFormat.ZIP, file)
    os.mkfifo(tmp_path / "slow")  # of which nothing comes
    first = asyncio.create_task(imported(tmp_path / "slow", target, "a.zip", "m"))
    await stop_its_process()
    with pytest.raises(ModelyardError, match="ended with code -9"):
        await first
    assert not target.exists()
    await imported(packed, target, "a.zip", "m")
    assert (target / "manifest.json").exists()
