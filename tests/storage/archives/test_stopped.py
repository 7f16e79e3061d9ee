"""A process that packs or unpacks and is stopped by a signal holds its call for seconds only."""

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from modelyard.errors import ModelyardError, StorageUnavailable
from modelyard.storage.archives.export import export
from modelyard.storage.archives.formats import ArchiveFormat
from modelyard.storage.archives.processes import exported, imported

LARGE = {"model.bin": random.Random(1).randbytes(8 << 20)}


def begun() -> list[int]:
    """The processes of archives that this process has begun."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                if b"archives" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


async def stop_its_process() -> None:
    """As soon as it is there."""
    async with asyncio.timeout(60):
        while not (found := begun()):
            await asyncio.sleep(0.02)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)


async def test_an_archive_whose_reader_leaves_with_much_unread_ends_at_once(make_version):
    """asyncio's `wait()` returns when the output was read, not when the process has ended."""
    pieces = exported(make_version(contents=LARGE), ArchiveFormat.ZIP)
    assert await anext(pieces)
    await asyncio.sleep(1)  # the rest piles up, as with a client that reads slowly
    async with asyncio.timeout(30):
        await pieces.aclose()
    assert not begun()


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
