"""What a run writes down of its code, environment, data and curves; nothing of it stops a run."""

import hashlib
import json
import os
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest

from modelyard.training import lineage
from modelyard.training.messages import RunOrder
from modelyard.training.paths import RunPaths, read_json

AS_SOMEBODY = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]


def git(folder, *arguments):
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *AS_SOMEBODY, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environ)
    return done.stdout.decode().strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with one committed module."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "plugin.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "runs" / ("a" * 32)
    folder.mkdir(parents=True)
    return RunPaths(folder)


def order(**more):
    source = {"name": "m", "value": "json:dumps", "group": "modelyard.models"}
    source.update({"distribution": "some-plugin", "distribution_version": "1.2"})
    said = {"source": source, "pinned": {"epochs": 3}, "seed": 7, **more}
    return RunOrder("a" * 32, "m", **said)


def told(paths):
    return read_json(paths.lineage)


def test_a_clean_checkout_is_told_by_its_commit(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert lineage.git_state(checkout / "plugin.py") == {"commit": commit, "dirty": False}


def test_a_changed_file_makes_the_checkout_dirty_and_the_source_another(checkout):
    before = lineage.source_hash(checkout)
    (checkout / "plugin.py").write_text("x = 2\n")
    assert lineage.git_state(checkout / "plugin.py")["dirty"] is True
    assert lineage.source_hash(checkout) != before


def test_an_environment_inside_somebodys_checkout_is_not_of_that_commit(checkout):
    site = checkout / "venv" / "site-packages"
    site.mkdir(parents=True)
    (site / "other.py").write_text("")
    assert lineage.git_state(site / "other.py") is None


def test_variables_of_a_git_hook_do_not_name_another_repository(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert lineage.git_state(checkout / "plugin.py")["dirty"] is False


def test_without_git_there_is_no_commit_and_a_hanging_git_is_given_up(
    checkout, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lineage.git_state(checkout / "plugin.py") is None
    (tmp_path / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setattr(lineage, "_GIT_LIMIT_S", 0.3)
    started = time.monotonic()
    assert lineage.git_state(checkout / "plugin.py") is None
    assert time.monotonic() - started < 30


def test_the_source_hash_is_of_paths_and_contents_of_python_files(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = lineage.source_hash(tmp_path)
    (tmp_path / "data.bin").write_text("other")
    assert lineage.source_hash(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert lineage.source_hash(tmp_path) != first


def test_packages_are_those_that_the_interpreter_sees():
    said = lineage.packages()
    installed = {
        lineage._normalised(item.metadata["Name"]): item.version
        for item in reversed([*metadata.distributions()])
    }
    assert {name: said.get(name) for name in installed} == installed


def test_all_is_written_before_the_first_step_in_a_fraction_of_a_second(paths):
    started = time.monotonic()
    lineage.begin(paths, order(dataset={"id": "d" * 32, "name": "x", "digest": "e", "folder": "/"}))
    assert time.monotonic() - started < 30
    now = told(paths)
    assert now["arguments"] == {"epochs": 3} and now["seed"] == 7
    assert now["dataset"] == {"id": "d" * 32, "name": "x", "digest": "e"}
    assert now["code"]["distribution"] == "some-plugin" and now["code"]["source_sha256"]
    assert now["environment"]["packages"]["marshmallow"]
    assert "/" not in str(now["code"]["entry_point"])


def test_a_module_without_a_file_or_source_has_names_only(paths):
    lineage.begin(paths, order(source={"value": "sys:exit", "group": "g"}))
    assert told(paths)["code"]["entry_point"] == "sys:exit"
    assert told(paths)["code"]["source_sha256"] is None
    lineage.begin(paths, order(source={"value": "not_imported"}))
    assert told(paths)["code"]["git"] is None


def test_the_first_version_that_was_read_is_the_parent(paths):
    lineage.begin(paths, order())
    lineage.read_version(paths, "latest", "b" * 32)
    lineage.read_version(paths, "c" * 32, "c" * 32)
    found, parent, dataset = lineage.recorded(paths)
    assert parent == "b" * 32 and dataset is None
    assert found["weights"] == {"latest": "b" * 32, "c" * 32: "c" * 32}


def test_a_resumed_attempt_keeps_what_was_different_before(paths):
    lineage.begin(paths, order(threads=1, request={"files": [PART]}))
    lineage.read_version(paths, "latest", "b" * 32)
    lineage.complete(paths)
    lineage.begin(paths, order(threads=1))
    assert told(paths)["earlier"] == []
    lineage.begin(paths, order(threads=2))
    now = told(paths)
    assert now["environment"]["threads"] == 2
    assert [one["environment"]["threads"] for one in now["earlier"]] == [1]
    assert now["weights"] == {"latest": "b" * 32}
    assert now["uploads"] == [{name: PART[name] for name in sorted(PART) if name != "path"}]


PART = {"field": "data", "filename": "x.zip", "path": "/home/0.zip", "size": 3, "sha256": "f" * 64}


def test_a_full_disk_fails_no_training_for_its_lineage(paths, capsys):
    paths.root.rmdir()
    lineage.begin(paths, order())
    lineage.read_version(paths, "latest", "b" * 32)
    lineage.complete(paths)
    assert lineage.recorded(paths) == ({}, None, None)
    assert "cannot be written" in capsys.readouterr().err


# -- curves --------------------------------------------------------------------------------------


def write(paths, points):
    lines = [json.dumps({"step": step, "time": 0.0, "values": values}) for step, values in points]
    paths.metrics.write_text("\n".join(lines) + "\n")


def test_a_short_curve_is_whole(paths):
    write(paths, [(1, {"loss": 0.5}), (2, {"loss": 0.25, "accuracy": 1})])
    assert lineage.curves(paths.metrics) == {"accuracy": [[2, 1]], "loss": [[1, 0.5], [2, 0.25]]}


@pytest.mark.parametrize("number", [99, 100, 101, 1000, 12345])
def test_a_long_curve_has_a_hundred_points_with_the_first_and_the_last(paths, number):
    write(paths, [(step, {"loss": float(step)}) for step in range(1, number + 1)])
    curve = lineage.curves(paths.metrics)["loss"]
    assert min(number, 50) <= len(curve) <= 100
    assert curve[0] == [1, 1.0] and curve[-1] == [number, float(number)]
    assert curve == sorted(curve)


def test_steps_that_were_made_again_count_once(paths):
    points = [(step, {"loss": 1.0}) for step in range(1, 9)]
    write(paths, [*points, *[(step, {"loss": 2.0}) for step in range(5, 11)]])
    curve = lineage.curves(paths.metrics)["loss"]
    assert curve == [[step, 1.0 if step < 5 else 2.0] for step in range(1, 11)]


def test_what_is_not_finite_is_null_and_damaged_lines_are_left_out(paths):
    paths.metrics.write_text(
        '{"step": 1, "values": {"loss": NaN}}\n{"st\n[]\n{"step": 2, "values": {"loss": 1e999}}\n'
        '{"step": 3, "values": {"loss": 0.5}}'
    )
    curve = lineage.curves(paths.metrics)["loss"]
    assert curve == [[1, None], [2, None], [3, 0.5]]


def test_there_are_no_curves_without_metrics(tmp_path):
    assert lineage.curves(tmp_path / "none") == {}


def test_a_single_file_module_is_hashed_by_its_name_and_content(tmp_path):
    file = tmp_path / "one.py"
    file.write_bytes(b"x = 1\n")
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    assert lineage.source_hash(file) == hashlib.sha256(f"{digest} one.py\n".encode()).hexdigest()
    assert Path(file).exists()
