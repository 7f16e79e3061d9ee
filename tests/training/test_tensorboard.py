"""TensorBoard shows the runs over its Unix socket, and listens nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from modelyard.records.home import Home
from modelyard.training.events import EventsWriter
from modelyard.training.identity import Identity
from modelyard.training.messages import RunOrder
from modelyard.training.metrics import Point
from modelyard.training.paths import RunPaths, write_json
from modelyard.training.run_links import RunLinks
from modelyard.training.tensorboard import TensorBoard
from modelyard.training.watching import Watching

RUN = "a" * 32


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.open()
    yield home
    home.close()


@pytest.fixture
async def tensorboard(home):
    made = TensorBoard(home, "/base/tensorboard")
    yield made
    await made.close()


def reported(home: Home, run_id: str = RUN) -> RunPaths:
    paths = RunPaths(home.runs / run_id)
    paths.root.mkdir(parents=True)
    write_json(paths.run, RunOrder(id=run_id, model="digits", source={}).to_data())
    writer = EventsWriter(paths.events)
    writer.write([Point(step, 1e9 + step, {"loss": 1 / step, "acc": 0.5}) for step in (1, 2, 3)])
    writer.close()
    return paths


async def get(tensorboard: TensorBoard, path: str) -> bytes:
    connector = aiohttp.UnixConnector(str(await tensorboard.socket()))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://tensorboard/base/tensorboard{path}") as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def tags(tensorboard: TensorBoard) -> dict:
    return json.loads(await get(tensorboard, "/data/plugin/scalars/tags"))


async def shown(tensorboard: TensorBoard, run: str) -> dict:
    for _ in range(200):
        found = await tags(tensorboard)
        if found.get(run):
            return found[run]
        await asyncio.sleep(0.1)
    raise AssertionError(f"{run} is not shown")


async def test_scalars_are_shown_and_nothing_listens_on_tcp(home, tensorboard):
    reported(home)
    assert set(await shown(tensorboard, f"digits/{RUN}")) == {"loss", "acc"}
    points = json.loads(
        await get(tensorboard, f"/data/plugin/scalars/scalars?run=digits/{RUN}&tag=loss")
    )
    assert [step for _, step, _ in points] == [1, 2, 3]
    assert points[1][2] == pytest.approx(0.5)
    assert b"<html" in (await get(tensorboard, "/")).lower()
    assert tcp_listeners(tensorboard.pid) == set()
    mode = stat.S_IMODE((await tensorboard.socket()).stat().st_mode)
    assert mode == 0o600

    # The same child shows a run that came later.
    pid = tensorboard.pid
    reported(home, "b" * 32)
    await shown(tensorboard, "digits/" + "b" * 32)
    assert tensorboard.pid == pid


async def test_what_a_training_writes_elsewhere_is_shown_below_its_run(home, tensorboard, tmp_path):
    paths = reported(home)
    assert set(await shown(tensorboard, f"digits/{RUN}")) == {"loss", "acc"}
    Watching(paths, 0.0).add(tmp_path / "logs")
    writer = EventsWriter(tmp_path / "logs" / "validation")
    writer.write([Point(1, 1e9, {"val_loss": 1.0})])
    writer.close()
    found = await shown(tensorboard, f"digits/{RUN}/logs/validation")
    assert set(found) == {"val_loss"}
    assert set(await shown(tensorboard, f"digits/{RUN}")) == {"loss", "acc"}


async def test_who_comes_after_one_that_left_while_it_started_waits_until_it_answers(tensorboard):
    first = asyncio.ensure_future(tensorboard.socket())
    while tensorboard.pid is None:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    pid = tensorboard.pid
    assert b"<html" in (await get(tensorboard, "/")).lower() and tensorboard.pid == pid


async def test_what_is_told_of_its_folder_is_a_name(home, tensorboard):
    told = json.loads(await get(tensorboard, "/data/environment"))
    assert told["data_location"] == home.tensorboard.name


async def test_dead_tensorboard_is_started_again_and_ends_with_close(home, tensorboard):
    await tensorboard.socket()
    first = Identity.of(tensorboard.pid)
    os.kill(first.pid, signal.SIGKILL)
    while tensorboard.pid is not None:
        await asyncio.sleep(0.01)
    assert await tags(tensorboard) == {}
    second = Identity.of(tensorboard.pid)
    assert second != first
    await tensorboard.close()
    assert not second.alive() and list(home.tmp.glob("tb-*")) == []


async def test_stopped_tensorboard_holds_nobody_for_long_and_is_started_again(tensorboard):
    await tensorboard.socket()
    first = Identity.of(tensorboard.pid)
    os.kill(first.pid, signal.SIGSTOP)
    with pytest.raises(aiohttp.ClientError):  # which the proxy answers with 503
        await get(tensorboard, "/data/environment")
    while tensorboard.pid is not None:
        await asyncio.sleep(0.01)
    assert await tags(tensorboard) == {} and not first.alive()


def test_links_follow_the_runs_that_there_are(home):
    paths = reported(home)
    links = RunLinks(home.runs, home.tensorboard)
    links.refresh()
    link = home.tensorboard / "digits" / RUN
    assert link.is_symlink() and link.resolve() == paths.events.resolve()
    shutil.rmtree(paths.root)
    links.refresh()
    assert not link.is_symlink()


def tcp_listeners(pid: int) -> set[str]:
    """Inodes of listening TCP sockets among the process's descriptors (state 0A in /proc/net)."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    mine = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            mine.add(str(descriptor.readlink()))
        except OSError:
            continue
    return mine & listening


async def test_a_home_that_lies_deep_needs_no_folder_elsewhere(tmp_path, monkeypatch):
    """A socket's path has at most 107 bytes (unix(7))."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    home = Home(tmp_path / ("deep" * 30) / "home")
    home.open()
    made = TensorBoard(home, "/base/tensorboard")
    try:
        reported(home)
        await get(made, "/data/runs")
        folders = list(home.tmp.glob("tb-*"))
        assert len(folders) == 1 and (folders[0] / "http").is_socket()
        assert list(elsewhere.iterdir()) == []
    finally:
        await made.close()
        home.close()
    assert list(home.tmp.glob("tb-*")) == []


async def test_one_that_is_lost_in_a_regular_expression_is_ended_and_started_again(home):
    """Who sends one that never ends stopped TensorBoard for everybody, for good."""
    reported(home)
    tensorboard = TensorBoard(home, "/base/tensorboard", deaf_after_s=3.0)
    try:
        await until_shown(tensorboard)
        endless = urlencode({"run": f"digits/{RUN}", "tag": f"({'|'.join('.' * 300)})*!"})
        path = f"/data/plugin/custom_scalars/scalars?{endless}"
        with pytest.raises(aiohttp.ClientError):
            async with tensorboard.asked(), asyncio.timeout(90):
                await get(tensorboard, path)
        await until_shown(tensorboard)  # whoever asks at once gets the next one
    finally:
        await tensorboard.close()


async def until_shown(tensorboard: TensorBoard) -> None:
    async with asyncio.timeout(90):
        while b"loss" not in await get(tensorboard, "/data/plugin/scalars/tags"):
            await asyncio.sleep(0.2)
