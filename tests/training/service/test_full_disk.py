"""The disk is full while a run trains: it says so, and what was saved before is kept."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.models_plugin.plugin import PluginSource
from modelyard.schemas.states import Reason, Status
from modelyard.training.checkpoints import CheckpointIndex

from .conftest import Yard
from .test_resume import at_step, check_ended_as_unbroken


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; needs the right to mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
async def small_yard(small_disk: Path, empty_home: Path) -> AsyncIterator[Yard]:
    yard = await Yard(Path(shutil.copytree(empty_home, small_disk / "home"))).start()
    yield yard
    await yard.stop()
    yard.kill_all()


def fill(disk: Path, filler: Path) -> None:
    """Leaves 1 MB free: the run removes old checkpoints, so that filling once is not enough."""
    room = shutil.disk_usage(disk).free - 1_000_000
    if room > 0:
        with filler.open("ab") as stream, contextlib.suppress(OSError):
            stream.write(bytes(room))


async def test_checkpoint_that_finds_no_room_ends_the_run_and_harms_nothing(
    small_yard: Any, small_disk: Path
) -> None:
    yard = small_yard
    earlier = await yard.finished(await yard.walk(steps=2))
    record = await yard.walk(steps=40, bulk=4_000_000)
    await at_step(yard, record, 6)
    filler = small_disk / "filler"
    ending = asyncio.ensure_future(yard.finished(record, 30))
    while not ending.done():
        fill(small_disk, filler)
        await asyncio.sleep(0.005)
    ended = await ending
    assert (ended.status, ended.reason) == (Status.ERROR, Reason.DISK_FULL)
    assert "make room, then resume" in ended.message
    assert "No space left on device" in ended.message
    assert await yard.versions.check(await yard.versions.get("behaving", earlier.weights))
    paths = yard.paths(ended)
    index = CheckpointIndex.read(paths)
    assert index.last is not None and (paths.checkpoint(index.last) / "state" / "bulk").exists()
    assert [one.name for one in paths.checkpoints.iterdir() if one.name.endswith(".tmp")] == []
    filler.unlink()
    left = await yard.service.resumption(ended)
    again = await yard.service.submit(
        PluginSource(name="behaving", value="walking:Walking"),
        left.request,
        ended.args,
        left.secrets,
        None,
        seed=left.order.seed,
        resumes=left,
    )
    done = await check_ended_as_unbroken(yard, again, 40)
    assert done.resumed_from == record.id
