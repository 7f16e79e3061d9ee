"""A checkpoint is whole on disk or not there at all."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from modelyard.training.checkpoints import CheckpointIndex, Checkpoints
from modelyard.training.paths import RunPaths, read_json, write_json


@pytest.fixture
def paths(tmp_path) -> RunPaths:
    return RunPaths(tmp_path)


def save(checkpoints, step, metric=None, higher=True, text="w"):
    with checkpoints.save(step, metric, higher, {"metric": metric or 0.0}) as checkpoint:
        (checkpoint.weights / "w.txt").write_text(text)
        (checkpoint.state / "s.txt").write_text("state")


def folders(paths) -> list[str]:
    return sorted(path.name for path in paths.checkpoints.iterdir() if path.is_dir())


def test_best_and_last_are_kept_and_others_removed(paths):
    checkpoints = Checkpoints(paths)
    for step, metric in ((1, 0.5), (2, 0.9), (3, 0.7), (4, 0.6)):
        save(checkpoints, step, metric)
    index = CheckpointIndex.read(paths)
    assert (index.last, index.best) == (4, 2)
    assert folders(paths) == ["0000000002", "0000000004"]
    assert [item.step for item in index.items] == [2, 4]


def test_lower_is_better_where_the_plugin_says_so(paths):
    checkpoints = Checkpoints(paths)
    for step, metric in ((1, 0.5), (2, 0.9)):
        save(checkpoints, step, metric, higher=False)
    assert CheckpointIndex.read(paths).best == 1


def test_without_any_metric_the_last_is_chosen(paths):
    checkpoints = Checkpoints(paths)
    save(checkpoints, 1)
    save(checkpoints, 2)
    item, name = CheckpointIndex.read(paths).chosen()
    assert (item.step, name) == (2, "last")


def test_nan_is_never_the_best(paths):
    checkpoints = Checkpoints(paths)
    save(checkpoints, 1, float("nan"))
    save(checkpoints, 2, 0.1)
    save(checkpoints, 3, float("nan"))
    assert CheckpointIndex.read(paths).best == 2


def test_same_step_again_replaces_its_checkpoint(paths):
    checkpoints = Checkpoints(paths)
    save(checkpoints, 1, 0.5, text="old")
    save(checkpoints, 1, 0.4, text="new")
    assert (paths.checkpoint(1) / "weights" / "w.txt").read_text() == "new"
    assert folders(paths) == ["0000000001"]


def test_exception_in_the_block_leaves_the_previous_checkpoint(paths):
    checkpoints = Checkpoints(paths)
    save(checkpoints, 1, 0.5)
    with pytest.raises(KeyError), checkpoints.save(2, 0.9, True, None) as checkpoint:
        (checkpoint.weights / "w.txt").write_text("half")
        raise KeyError
    assert CheckpointIndex.read(paths).last == 1 and folders(paths) == ["0000000001"]


def test_checkpoint_without_weights_is_refused(paths):
    with pytest.raises(ValueError, match="no file"), Checkpoints(paths).save(1, 1.0, True, None):
        pass


FULL_DISK = """
import resource, sys
from pathlib import Path
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.paths import RunPaths

checkpoints = Checkpoints(RunPaths(Path(sys.argv[1])))
def save(step, size):
    with checkpoints.save(step, step, True, None) as checkpoint:
        (checkpoint.weights / "w.bin").write_bytes(b"x" * size)
save(1, 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    save(2, 5000)
except OSError as error:
    print("refused", error.errno)
"""


@pytest.mark.parametrize("limit", [3000, 100])
def test_checkpoint_that_cannot_be_written_leaves_the_previous_one_intact(paths, limit):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(paths.root), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "refused" in done.stdout
    assert CheckpointIndex.read(paths).last == 1 and folders(paths) == ["0000000001"]
    assert (paths.checkpoint(1) / "weights" / "w.bin").stat().st_size == 1000


def test_leftovers_of_a_killed_writer_are_ignored_and_swept(paths):
    save(Checkpoints(paths), 1, 0.5)
    (paths.checkpoints / ".0000000002.77.tmp" / "weights").mkdir(parents=True)
    (paths.checkpoints / "0000000003" / "weights").mkdir(parents=True)  # renamed, never indexed
    (paths.checkpoints / ".index.json.77.1.tmp").write_text('{"last": 3, ')
    assert CheckpointIndex.read(paths).last == 1
    Checkpoints(paths)
    assert folders(paths) == ["0000000001"]


def test_json_file_that_cannot_be_written_is_as_before(paths):
    write_json(paths.result, {"old": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError):
            write_json(paths.result, {"new": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_json(paths.result) == {"old": 1}
    assert [path.name for path in paths.root.iterdir()] == ["result.json"]
