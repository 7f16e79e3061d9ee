"""What is said of a model's own interpreter that cannot be used, and what to do about it."""

import os
import sys
import time
from pathlib import Path

import pytest

from modelyard.errors import ModelFailedToLoad
from modelyard.models_plugin.discovery import list_sources
from modelyard.models_plugin.interpreter import Interpreter, Unusable


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


def package(folder: Path, name: str, *points: str, group: str = "modelyard.models") -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]", *points] if points else []
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def bare(make_environment) -> Path:
    """The site-packages and the interpreter of an environment with nothing in it."""
    return make_environment("bare", sys.executable)


def site_of(python: Path) -> Path:
    return next(python.parents[1].glob("lib/python*/site-packages"))


def problem(path: object, name: str = "mine") -> str:
    (source,) = list_sources([name], {name: Interpreter(str(path))})
    assert source.python == str(path)
    return source.problem


def test_a_missing_one_is_told_with_what_would_be_right(tmp_path):
    told = problem(tmp_path / "venv/bin/python")
    assert told.startswith("Model 'mine', python of [models.mine]: ")
    assert f"{tmp_path}/venv/bin/python does not exist. Give the path" in told


def test_an_environment_whose_python_was_removed_is_to_be_made_anew(tmp_path):
    (tmp_path / "python").symlink_to(tmp_path / "gone")
    assert f"a link to {tmp_path}/gone, which does not exist" in problem(tmp_path / "python")
    assert "Make the environment anew" in problem(tmp_path / "python")


def test_a_folder_is_answered_with_the_interpreter_in_it(tmp_path):
    assert f"Give the interpreter in it: {tmp_path}/bin/python." in problem(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_what_cannot_be_started_is_told(tmp_path, mode):
    file = tmp_path / "python"
    file.write_bytes(b"\x7fELF no program")
    file.chmod(mode)
    told = problem(file)
    assert "may not be executed" in told or "cannot be started: Exec format error" in told


def test_one_that_hangs_is_given_up_with_its_children(tmp_path, monkeypatch):
    path = script(tmp_path / "python", f"sleep 61 & echo $! >{tmp_path}/child; wait")
    started = time.monotonic()
    with pytest.raises(Unusable, match=r"did not say within 0\.5 s"):
        Interpreter(path).sources(0.5)
    assert time.monotonic() < started + 5
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 5
    while time.monotonic() < until and Path(f"/proc/{child}/cmdline").exists():
        if not Path(f"/proc/{child}/cmdline").read_bytes():  # a zombie, which init will reap
            return
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()


def test_one_that_writes_without_end_is_given_up_at_once(tmp_path):
    # Not really without end: where the whole of it is kept, the test fails, and not the machine.
    path = script(tmp_path / "python", "head -c 200000000 /dev/zero | tr '\\0' A; sleep 60")
    started = time.monotonic()
    with pytest.raises(Unusable, match=r"wrote more than 4 MB .* and was stopped"):
        Interpreter(path).sources(10)
    assert time.monotonic() < started + 5


def test_one_whose_children_stay_with_its_output_has_answered(bare, tmp_path):
    path = script(tmp_path / "python", f'sleep 60 & exec {bare} "$@"')
    started = time.monotonic()
    with pytest.raises(Unusable, match="has no marshmallow"):
        Interpreter(path).sources(20)
    assert time.monotonic() < started + 10


@pytest.mark.parametrize("said", ["{}", "[3]", "null", "[" * 100_000])
def test_another_answer_than_ours_is_told(tmp_path, said):
    (tmp_path / "said").write_text(said)
    path = script(tmp_path / "python", f"cat {tmp_path}/said")
    assert "did not answer as Python 3.8 or later does" in problem(path)


def test_what_is_no_python_is_told_with_its_last_words(tmp_path):
    told = problem(script(tmp_path / "python", "echo oops >&2; exit 4"))
    assert "did not answer as Python 3.8 or later does: oops" in told
    assert "it exited with code 3" in problem(script(tmp_path / "silent", "exit 3"))


def test_a_python_that_is_too_old_is_told(tmp_path):
    # As the bootstrap would end in one; its check is the first thing that it does.
    path = script(
        tmp_path / "python", "echo 'Python 3.6 is too old: 3.8 is the oldest' >&2; exit 1"
    )
    assert "Python 3.6 is too old" in problem(path)


def test_an_environment_without_marshmallow_is_told_how_to_get_it(bare):
    package(site_of(bare), "mine", "mine = a:A")
    told = problem(bare)
    assert "has no marshmallow" in told
    assert f"{bare} -m pip install 'marshmallow>=3,<5'" in told
    package(site_of(bare), "marshmallow")
    metadata = site_of(bare) / "marshmallow-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: marshmallow\nVersion: 2.21.0\n")
    assert "has marshmallow 2.21.0" in problem(bare)


@pytest.fixture
def ready(bare) -> Path:
    """An environment that offers models, by metadata alone."""
    site = site_of(bare)
    package(site, "marshmallow")
    metadata = site / "marshmallow-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: marshmallow\nVersion: 3.26.1\n")
    package(site, "first", "one = a:A", "two = b:B")
    package(site, "second", "old = old.api", group="deepaas.v2.model")
    return bare


def test_a_name_that_it_does_not_offer_is_told_with_those_that_it_does(ready):
    told = problem(ready, "three")
    assert "no entry point of that name" in told
    assert "It offers: old, one, two." in told
    assert "'modelyard.models' or 'deepaas.v2.model'" in told


def test_models_of_both_contracts_are_found_and_carry_their_interpreter(ready):
    own = {name: Interpreter(str(ready)) for name in ("one", "old")}
    found = {source.name: source for source in list_sources(None, own)}
    assert (found["one"].value, found["one"].group) == ("a:A", "modelyard.models")
    assert (found["old"].value, found["old"].group) == ("old.api", "deepaas.v2.model")
    assert found["one"].python == found["old"].python == str(ready)
    assert "two" not in found  # it has no table


def test_only_models_that_are_named_are_asked_for(ready, tmp_path):
    own = {"one": Interpreter(str(ready)), "lost": Interpreter(str(tmp_path / "nothing"))}
    assert [source.name for source in list_sources(["one"], own)] == ["one"]


def test_the_settings_win_over_what_is_installed_beside_the_server(ready, tmp_path, monkeypatch):
    package(tmp_path, "ours", "one = ours:One", "other = ours:Other")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {s.name: s for s in list_sources(None, {"one": Interpreter(str(ready))})}
    assert (found["one"].value, found["one"].python) == ("a:A", str(ready))
    assert (found["other"].value, found["other"].python) == ("ours:Other", None)


def test_the_models_own_table_may_name_a_path_for_it(ready, tmp_path):
    package(tmp_path / "modules", "third", "three = c:C")
    own = {"three": Interpreter(str(ready), {"PYTHONPATH": str(tmp_path / "modules")})}
    assert [source.value for source in list_sources(["three"], own)] == ["c:C"]


def test_a_name_on_the_path_and_a_relative_path_are_understood(ready, monkeypatch):
    monkeypatch.setenv("PATH", f"{ready.parent}{os.pathsep}{os.environ['PATH']}")
    assert Interpreter("python").sources()["one"].python == str(ready)
    monkeypatch.chdir(ready.parents[1])
    assert Interpreter("bin/python").sources()["one"].python == str(ready)


def test_what_an_environment_prints_at_its_start_is_no_answer(ready):
    (site_of(ready) / "chatty.pth").write_text("import sys; print('hello', end='')\n")
    assert "one" in Interpreter(str(ready)).sources()


def test_interpreters_are_asked_at_the_same_time_and_each_once(tmp_path):
    slow = [script(tmp_path / f"python{n}", f"echo >>{tmp_path}/asked; sleep 1") for n in range(3)]
    own = {f"m{n}": Interpreter(slow[n % 3]) for n in range(6)}
    started = time.monotonic()
    sources = list_sources(list(own), own)
    assert time.monotonic() < started + 2.5
    assert len((tmp_path / "asked").read_text().splitlines()) == 3
    assert all(source.problem for source in sources)


def test_a_name_that_nobody_offers_is_refused_with_both_groups(ready):
    with pytest.raises(ModelFailedToLoad, match=r"'modelyard.models' or 'deepaas.v2.model'"):
        list_sources(["nobody"], {"one": Interpreter(str(ready))})
