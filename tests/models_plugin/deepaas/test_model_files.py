"""What an old module's train() wrote and names becomes the version; nothing else does."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from modelyard.models_plugin.deepaas.model_files import metrics_in
from modelyard.models_plugin.deepaas.training import train
from modelyard.training.checkpoints import CheckpointIndex


@pytest.fixture
def kept(paths):
    """Asks for the files of the run's checkpoint, by their path in it."""

    def ask() -> dict[str, str]:
        chosen = CheckpointIndex.read(paths).chosen()
        if chosen is None:
            return {}
        root = paths.checkpoint(chosen[0].step) / "weights"
        files = [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_text() for path in files}

    return ask


def write(path: Path, text: str = "new") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def model(workplace: Path, name: str = "m") -> Path:
    write(workplace / "models" / name / "weights.h5")
    write(workplace / "models" / name / "conf" / "conf.json")
    return workplace / "models" / name


FILES = {"weights.h5": "new", "conf/conf.json": "new"}


@pytest.mark.parametrize(
    "result",
    [
        str,
        Path,
        lambda folder: {"status": "done", "results": [{"saved_to": str(folder)}]},
        lambda folder: os.path.relpath(folder),
        lambda folder: f'The model was saved to "{folder}".',
        lambda folder: {"modelname": folder.name},
        lambda folder: {folder / "weights.h5", folder},
    ],
)
def test_a_folder_that_the_result_names_becomes_the_version(run, workplace, kept, result):
    train(run, lambda: result(model(workplace)))
    assert kept() == FILES


def test_a_single_file_becomes_the_version(run, workplace, kept):
    train(run, lambda: str(write(workplace / "m.pt")))
    assert kept() == {"m.pt": "new"}


def test_the_settings_folder_gives_its_new_and_changed_files(new_run, workplace, kept):
    folder = workplace / "models"
    write(folder / "old" / "weights.h5", "old")
    write(folder / "best.txt", "old")
    run = new_run(folder)
    train(run, lambda: write(folder / "best.txt") and model(workplace, "m2") and None)
    assert kept() == {"best.txt": "new", "m2/weights.h5": "new", "m2/conf/conf.json": "new"}


def test_a_folder_from_before_gives_only_what_the_training_wrote(run, workplace, kept):
    write(workplace / "models" / "m" / "other.h5", "old")
    train(run, lambda: str(model(workplace)))
    assert kept() == FILES


def test_files_of_the_same_name_in_two_folders_are_both_kept(run, workplace, kept):
    def call():
        return [
            str(write(workplace / "a" / "w.pt", "a").parent),
            str(write(workplace / "b" / "w.pt", "b").parent),
        ]

    train(run, call)
    assert sorted(kept().values()) == ["a", "b"]


def test_event_files_are_the_version_only_if_there_is_nothing_else(run, workplace, kept):
    def call():
        write(workplace / "models" / "m" / "events.out.tfevents.1.host")
        return str(model(workplace))

    train(run, call)
    assert kept() == FILES


# -- what is never taken ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/etc", "/", "/proc/self/environ", "/proc/self", "/dev/stdin", "~", "."],
)
def test_a_path_that_the_client_gave_and_the_module_echoes_is_not_taken(run, paths, kept, path):
    train(run, lambda: {"arguments": {"data": path}, "output": path})
    assert kept() == {}
    assert "weights_folder" in paths.log.read_text()


def test_files_from_just_before_the_training_are_not_taken(run, workplace, kept):
    for number in range(20):
        upload = write(workplace / f"upload-{number}.csv", "the client's")
        train(run, lambda: str(upload))  # noqa: B023 - called at once
    assert kept() == {}


def test_files_from_its_first_moment_are_taken(run, workplace, kept):
    for number in range(20):
        train(run, lambda: str(write(workplace / f"{number}.pt")))  # noqa: B023 - called at once
        assert kept() == {f"{number}.pt": "new"}


def test_the_servers_own_files_are_not_taken_though_they_change(run, paths, kept):
    def call():
        write(paths.root / "status.json")
        write(paths.root.parent.parent / "records.db")
        return [str(paths.root), str(paths.root.parent.parent), str(paths.root / "status.json")]

    train(run, call)
    assert kept() == {}


def test_what_is_written_in_the_runs_own_folder_is_taken(run, kept):
    train(run, lambda: str(write(run.folder / "m" / "w.pt").parent))
    assert kept() == {"w.pt": "new"}


def test_links_are_not_followed_out_of_the_folder(run, workplace, kept):
    def call():
        folder = model(workplace)
        (folder / "secret").symlink_to("/etc/passwd")
        (folder / "etc").symlink_to("/etc")
        os.mkfifo(folder / "pipe")
        return str(folder)

    train(run, call)
    assert kept() == FILES


@pytest.mark.parametrize(
    "result",
    [None, "", "\0", "x" * 100_000, "done", b"\xff", {"a": {}}, [[[[[["/tmp"]]]]]], object(), 7],
)
def test_a_result_without_files_makes_no_version(run, workplace, kept, result):
    assert train(run, lambda: result) is result
    assert kept() == {}


# -- and what else is told ------------------------------------------------------------------------


def test_a_full_disk_keeps_the_result_and_tells_it(run, workplace, kept, monkeypatch):
    monkeypatch.setattr("os.pwrite", refuse)
    folder = workplace / "models" / "m"
    assert train(run, lambda: str(model(workplace))) == str(folder)
    assert kept() == {}
    assert "No space left" in run.notes[0]


def refuse(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_versions_metrics_are_the_numbers_in_the_result(run, paths, workplace):
    result = {"accuracy": np.float32(0.5), "epochs": 3, "ok": True, "worst": float("nan")}
    train(run, lambda: {**result, "model": str(model(workplace)), "matrix": np.eye(2)})
    chosen = CheckpointIndex.read(paths).chosen()
    assert chosen is not None and chosen[0].metrics == {"accuracy": 0.5, "epochs": 3.0}


def test_a_keras_history_gives_its_last_epoch():
    history = SimpleNamespace(history={"loss": [0.5, 0.25], "odd": []}, epoch=[0, 1])
    assert metrics_in(history) == {"loss": 0.25}
