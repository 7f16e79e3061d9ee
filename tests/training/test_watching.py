"""Event files in folders of a training's own are shown below the run's name in TensorBoard."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from modelyard.records.home import Home
from modelyard.training.context import RunContext
from modelyard.training.events import EventsWriter
from modelyard.training.messages import RunOrder
from modelyard.training.metrics import Point
from modelyard.training.paths import RunPaths, write_bytes, write_json
from modelyard.training.reporting import Reporter
from modelyard.training.run_links import RunLinks

RUN = "c" * 32


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.open()
    yield home
    home.close()


@pytest.fixture
def paths(home):
    paths = RunPaths(home.runs / RUN)
    paths.root.mkdir()
    write_json(paths.run, RunOrder(id=RUN, model="old", source={}).to_data())
    write_bytes(paths.epoch, b"1")
    return paths


@pytest.fixture
def run(paths):
    order = RunOrder(id=RUN, model="old", source={})
    return RunContext(paths, order, Reporter(paths))


def write_events(folder: Path, tag: str = "loss") -> Path:
    writer = EventsWriter(folder)
    writer.write([Point(1, time.time(), {tag: 0.5})])
    writer.close()
    return next(folder.glob("events.*"))


def shown(home: Home) -> set[str]:
    """Folders with event files as TensorBoard's walk meets them, by their path in its folder."""
    RunLinks(home.runs, home.tensorboard).refresh()
    root = str(home.tensorboard)
    return {
        os.path.relpath(folder, root)
        for folder, _, files in os.walk(root, followlinks=True)
        if any("tfevents" in name for name in files)
    }


def test_a_watched_folder_is_shown_below_the_runs_own_name(home, paths, run, tmp_path):
    run.watch(tmp_path / "logs")  # comes later
    assert shown(home) == set()
    write_events(paths.events)
    write_events(tmp_path / "logs")
    write_events(tmp_path / "logs" / "train")
    assert shown(home) == {f"old/{RUN}", f"old/{RUN}/logs", f"old/{RUN}/logs/train"}


def test_a_run_that_begins_to_watch_keeps_its_own_curves(home, paths, run, tmp_path):
    write_events(paths.events)
    assert shown(home) == {f"old/{RUN}"}
    write_events(tmp_path / "logs")
    run.watch(tmp_path / "logs")
    assert shown(home) == {f"old/{RUN}", f"old/{RUN}/logs"}


def test_a_folder_told_twice_or_below_another_is_shown_once(home, run, tmp_path):
    write_events(tmp_path / "a" / "train")
    write_events(tmp_path / "b" / "train")
    run.watch(tmp_path / "a" / "train")
    run.watch(tmp_path / "a" / "train" / ".." / "train")
    run.watch(tmp_path / "b" / "train")
    run.watch(tmp_path / "b")
    run.watch(tmp_path / "b" / "train" / "deeper")
    assert shown(home) == {f"old/{RUN}/train", f"old/{RUN}/b-train"}


def test_others_event_files_in_the_same_folder_are_left_out(home, paths, tmp_path):
    earlier = write_events(tmp_path / "logs" / "monday")
    os.utime(earlier, (time.time() - 600, time.time() - 600))
    run = RunContext(paths, RunOrder(id=RUN, model="old", source={}), Reporter(paths))
    run.watch(tmp_path / "logs")
    write_events(tmp_path / "logs" / "tuesday")
    write_bytes(paths.exit, b"{}")
    later = tmp_path / "logs" / "wednesday" / f"events.out.tfevents.{int(time.time()) + 600}.host"
    later.parent.mkdir()
    later.write_bytes(b"")
    assert shown(home) == {f"old/{RUN}/logs/tuesday"}


def test_an_ended_run_is_shown_after_a_restart_and_gone_when_it_is_removed(
    home, paths, run, tmp_path
):
    write_events(tmp_path / "logs")
    run.watch(tmp_path / "logs")
    write_bytes(paths.exit, b"{}")
    assert shown(home) == {f"old/{RUN}/logs"}
    shutil.rmtree(home.tensorboard)
    home.tensorboard.mkdir()
    assert shown(home) == {f"old/{RUN}/logs"}
    shutil.rmtree(paths.root)
    assert shown(home) == set()
    assert (tmp_path / "logs").exists() and not (home.tensorboard / "old" / RUN).exists()


def test_links_in_a_watched_folder_are_not_followed(home, run, tmp_path):
    write_events(tmp_path / "elsewhere")
    write_events(tmp_path / "logs")
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "logs" / "circle").symlink_to(tmp_path / "logs")
    (tmp_path / "logs" / "pipe").mkdir()
    os.mkfifo(tmp_path / "logs" / "pipe" / "events.out.tfevents.1.host")
    run.watch(tmp_path / "logs")
    assert shown(home) == {f"old/{RUN}/logs"}


def test_a_folder_with_very_many_files_is_looked_into_in_part_only(
    home, run, tmp_path, monkeypatch
):
    for number in range(300):
        folder = tmp_path / "data" / f"{number:03}"
        folder.mkdir(parents=True)
        for other in range(100):
            (folder / str(other)).touch()
    run.watch(tmp_path / "data")
    listed: list[os.PathLike[str]] = []
    scandir = os.scandir

    def counting(folder):
        listed.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counting)
    assert shown(home) == set()
    below = [folder for folder in listed if (tmp_path / "data") in Path(folder).parents]
    assert 0 < len(below) < 250  # of 300, with 100 entries each: the bound of 20,000 has ended it


@pytest.mark.parametrize(
    ("where", "why"),
    [
        (lambda home: Path("/"), "the server's own files are below it"),
        (lambda home: home.root, "the server's own files are below it"),
        (lambda home: home.root.parent, "the server's own files are below it"),
        (lambda home: Path.home(), "home folder"),
        (lambda home: home.runs / ("d" * 32), "it belongs to the server"),
        (lambda home: home.tensorboard / "old", "it belongs to the server"),
    ],
)
def test_a_folder_of_the_server_or_a_person_is_refused_with_a_line_in_the_log(
    home, paths, run, monkeypatch, tmp_path, where, why
):
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for _ in range(2):
        run.watch(where(home))
    assert why in paths.log.read_text() and paths.log.read_text().count("not shown") == 1
    assert not paths.watched.exists()


@pytest.mark.parametrize("name", ["a b", "ä\n;'\"", "\udcff", ".hidden", "x" * 200, "tfevents"])
def test_a_folder_may_have_any_name(home, run, tmp_path, name):
    write_events(tmp_path / name)
    run.watch(tmp_path / name)
    (found,) = shown(home)
    assert Path(found).name.isprintable() and "tfevents" not in found


def test_the_runs_own_folders_may_be_watched(home, paths, run):
    write_events(paths.events)
    write_events(run.folder / "logs")
    run.watch(paths.events)
    run.watch(run.folder / "logs")
    assert shown(home) == {f"old/{RUN}", f"old/{RUN}/logs"}


def test_damaged_or_unwritable_files_of_one_run_hide_no_other(home, paths, run, tmp_path):
    paths.watched.write_bytes(b"\0damaged")
    write_events(paths.events)
    assert shown(home) == {f"old/{RUN}"}
    fresh = RunContext(paths, RunOrder(id=RUN, model="old", source={}), Reporter(paths))
    fresh.watch(tmp_path / "logs")
    write_events(tmp_path / "logs")
    assert shown(home) == {f"old/{RUN}", f"old/{RUN}/logs"}
