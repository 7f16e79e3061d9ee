"""kill -9 of the front at any moment of taking a dataset in: whole and listed, or not there."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FRONT = Path(__file__).with_name("front.py")


def start(home: Path, packed: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(FRONT), str(home), str(packed)]
    front = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert front.stdout is not None and front.stdout.readline() == "ready\n"
    return front


def ingest_processes(home: Path) -> list[int]:
    """Those that work in this home, by what they have open or stand in."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes()
            if b"modelyard.storage.datasets.ingest" not in line:
                continue
            opened = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(path.startswith(str(home)) for path in opened):
            found.append(int(process.name))
    return found


async def kill_once(new_yard, archive, tmp_path, name, seconds) -> bool:
    """True if the dataset is there afterwards."""
    files = {f"train/{n}.txt": b"%d" % n * 3000 for n in range(400)}
    packed = archive(tmp_path / "x.zip", files)
    home = tmp_path / name
    first = await new_yard(name)
    await first.stop()
    front = start(home, packed)
    time.sleep(seconds)
    front.send_signal(signal.SIGKILL)
    told = front.communicate(timeout=30)[0].strip()
    until = time.monotonic() + 10
    while ingest_processes(home):
        assert time.monotonic() < until, "an ingest process outlives its front"
        time.sleep(0.02)
    yard = await new_yard(name)
    page, _ = await yard.datasets.list(10)
    there = sorted(path.name for path in yard.home.datasets.iterdir())
    assert there == [record.id for record in page], "a folder and its record go together"
    assert not told or [told] == there, "what was told is there"
    for record in page:
        assert yard.content(record) == files
        manifest = json.loads((yard.home.datasets / record.id / "manifest.json").read_text())
        assert (manifest["digest"], len(manifest["files"])) == (record.digest, 400)
    again, created = await yard.add(packed, name="killed")
    assert created is (not page) and yard.content(again) == files
    await yard.stop()
    shutil.rmtree(home)
    return bool(page)


async def test_a_kill_while_a_dataset_is_taken_in_leaves_it_whole_or_not_at_all(
    new_yard, archive, tmp_path
):
    for number, seconds in enumerate((0.15, 0.5)):
        await kill_once(new_yard, archive, tmp_path, f"home{number}", seconds)


@pytest.mark.slow
async def test_kills_at_many_moments_leave_datasets_whole_or_not_at_all(
    new_yard, archive, tmp_path
):
    chance = random.Random(4)
    ends = [
        await kill_once(new_yard, archive, tmp_path, f"home{n}", chance.uniform(0, 1.2))
        for n in range(40)
    ]
    assert True in ends and False in ends, "the moments were all on one side"
