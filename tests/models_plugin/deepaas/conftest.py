"""A run as the run process has it, in a home of its own, and a working folder for the module."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.models_plugin.deepaas import event_folders
from modelyard.training.context import RunContext
from modelyard.training.messages import RunOrder
from modelyard.training.paths import RunPaths, read_json
from modelyard.training.reporting import Reporter

RUN = "e" * 32


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """The module's working folder, with a person's home elsewhere."""
    folder = tmp_path / "module"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    return folder


@pytest.fixture
def paths(tmp_path) -> RunPaths:
    paths = RunPaths(tmp_path / "yard" / "runs" / RUN)
    paths.root.mkdir(parents=True)
    return paths


@pytest.fixture
def new_run(paths, workplace):
    def make(weights_folder: Path | None = None) -> RunContext:
        folder = None if weights_folder is None else str(weights_folder)
        order = RunOrder(id=RUN, model="old", source={}, weights_folder=folder)
        return RunContext(paths, order, Reporter(paths))

    return make


@pytest.fixture
def run(new_run):
    return new_run()


@pytest.fixture
def looks_often(monkeypatch):
    """For what is only found by looking: every 0.2 s, not every 2 s."""
    monkeypatch.setattr(event_folders, "_EVERY_S", 0.2)


@pytest.fixture
def watched(paths, tmp_path):
    """Asks which folders the run watches: of this test's, for the run looks at all files that its
    process has open, and here that process is pytest's, with what tests before have left open."""

    def ask():
        folders = (read_json(paths.watched) or {}).get("folders", {}).values()
        return {folder for folder in folders if Path(folder).is_relative_to(tmp_path)}

    return ask
