"""Only files that this training wrote become its version, whatever else changes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.models_plugin.deepaas import copies
from modelyard.models_plugin.deepaas.training import train
from modelyard.training.checkpoints import CheckpointIndex

HOUR = 3600


@pytest.fixture
def version(paths):
    """Asks for the files of the run's checkpoint, by their path in it."""

    def ask() -> set[str]:
        chosen = CheckpointIndex.read(paths).chosen()
        if chosen is None:
            return set()
        root = paths.checkpoint(chosen[0].step) / "weights"
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    return ask


@pytest.fixture
def models(workplace) -> Path:
    """A folder from before, with a file that is an hour old."""
    folder = workplace / "models"
    folder.mkdir()
    old(folder / "old.pt")
    return folder


def old(path: Path) -> Path:
    path.write_text("old")
    os.utime(path, (time.time() - HOUR, time.time() - HOUR))
    return path


def by_program(*lines: str) -> None:
    """Writes as another program does: nothing of it is heard, and it is too quick to be seen."""
    subprocess.run(["sh", "-ec", "\n".join(lines)], check=True)


# -- never taken ----------------------------------------------------------------------------------


def test_what_another_process_writes_in_a_shared_folder_is_not_taken(run, models, version):
    def call():
        by_program(f"echo theirs > {models}/theirs.pt", f"mkdir {models}/b; echo b > {models}/b/b")
        (models / "ours.pt").write_text("ours")
        return str(models)

    train(run, call)
    assert version() == {"ours.pt"}


@pytest.mark.parametrize("named", ["old.pt", "."])
def test_a_change_of_rights_makes_no_file_new(new_run, models, version, named):
    for run in (new_run(), new_run(models)):
        train(run, lambda: (models / "old.pt").chmod(0o600) or str(models / named))
        assert version() == set()


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("settings", [False, True])
def test_a_hard_link_to_an_old_file_is_not_taken(new_run, models, version, touched, settings):
    def call():
        (models / "new").mkdir()
        for folder in (models, models / "new"):
            os.link(models / "old.pt", folder / "link.pt")
            if touched:
                os.utime(folder / "link.pt")
        return [str(models / "new"), str(models / "link.pt"), str(models)]

    train(new_run(models if settings else None), call)
    assert version() == set()


def test_old_files_that_are_moved_are_not_taken(run, models, version):
    def call():
        shutil.move(str(models / "old.pt"), str(models / "moved.pt"))
        return [str(models), str(models / "moved.pt")]

    train(run, call)
    assert version() == set()


def test_a_folder_that_was_there_is_not_ours_by_asking_for_it(run, models, version):
    def call():
        models.mkdir(exist_ok=True)
        by_program(f"echo theirs > {models}/theirs.pt")
        return str(models)

    train(run, call)
    assert version() == set()


def test_an_old_file_that_another_process_writes_is_not_taken_by_its_name(run, models, version):
    def call():
        by_program(f"echo more >> {models}/old.pt")
        return str(models / "old.pt")

    train(run, call)
    assert version() == set()


# -- taken all the same ---------------------------------------------------------------------------


def test_a_copy_with_the_old_times_is_taken(run, models, version):
    train(run, lambda: shutil.copy2(models / "old.pt", models / "copy.pt") and str(models))
    assert version() == {"copy.pt"}


def test_files_renamed_into_place_are_taken(run, models, version):
    def call():
        by_program(f"echo new > {models}/.a")  # as C++ code may write it
        (models / ".a").replace(models / "a.pt")
        (models / ".b").write_text("new")
        (models / ".b").rename(models / "b.pt")
        (models / ".c").write_text("new")
        os.link(models / ".c", models / "c.pt")
        (models / ".c").unlink()
        return str(models)

    train(run, call)
    assert version() == {"a.pt", "b.pt", "c.pt"}


def test_a_folder_renamed_into_place_is_taken(run, models, version):
    def call():
        (models / ".tmp").mkdir()
        by_program(f"echo new > {models}/.tmp/w.bin")
        shutil.copy2(models / "old.pt", models / ".tmp" / "base.pt")
        (models / ".tmp").rename(models / "m")
        return str(models)

    train(run, call)
    assert version() == {"m/w.bin", "m/base.pt"}


@pytest.mark.parametrize("by_python", [True, False])
def test_a_new_folder_is_taken_with_what_other_code_writes_there(run, models, version, by_python):
    def call():
        if by_python:
            (models / "m").mkdir()
        by_program(f"mkdir -p {models}/m/sub", f"echo new > {models}/m/sub/w.bin")
        return str(models if by_python else models / "m")

    train(run, call)
    assert version() == {"m/sub/w.bin" if by_python else "sub/w.bin"}


def test_a_new_file_that_other_code_writes_is_taken_by_its_path(run, models, version):
    def call():
        by_program(f"echo new > {models}/w.bin")
        return str(models / "w.bin")

    train(run, call)
    assert version() == {"w.bin"}


def test_the_settings_folder_is_taken_with_what_other_code_writes_there(new_run, models, version):
    train(new_run(models), lambda: by_program(f"echo new > {models}/w.bin"))
    assert version() == {"w.bin"}


def test_what_a_forked_child_writes_is_taken(run, models, version):
    def call():
        child = multiprocessing.get_context("fork").Process(
            target=(models / "old.pt").write_text, args=("new",)
        )
        child.start()
        child.join()
        return str(models)

    train(run, call)
    assert version() == {"old.pt"}


def test_what_a_child_program_has_open_for_a_while_is_taken(run, models, version, looks_often):
    def call():
        by_program(f"exec 3> {models}/w.bin; echo new >&3; sleep 1")
        return str(models)

    train(run, call)
    assert version() == {"w.bin"}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_what_torch_overwrites_in_a_shared_folder_is_taken(run, models, version):
    torch = pytest.importorskip("torch")

    def call():
        torch.save({"w": torch.ones(2)}, models / "old.pt")
        torch.save({"w": torch.ones(2)}, str(models / "new.pt"))
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), models / "script.pt")
        return str(models)

    before = torch._C.PyTorchFileWriter
    train(run, call)
    assert version() == {"old.pt", "new.pt", "script.pt"}
    assert torch._C.PyTorchFileWriter is before


def test_what_safetensors_overwrites_in_a_shared_folder_is_taken(run, models, version):
    torch = pytest.importorskip("torch")
    save_file = pytest.importorskip("safetensors.torch").save_file
    train(run, lambda: save_file({"w": torch.ones(2)}, models / "old.pt") or str(models))
    assert version() == {"old.pt"}


# -- and how they are copied ----------------------------------------------------------------------


def test_holes_are_copied_as_holes(run, workplace, version, paths):
    path = workplace / "sparse.bin"

    def call():
        with path.open("wb") as file:
            file.truncate(3 << 30)
            file.seek(1 << 30)
            file.write(b"data")
        return str(path)

    train(run, call)
    (copy,) = paths.root.rglob("sparse.bin")
    assert copy.stat().st_size == 3 << 30
    assert copy.stat().st_blocks * 512 < 1 << 20
    with copy.open("rb") as file:
        file.seek((1 << 30) - 1)
        assert file.read(6) == b"\0data\0"


def test_what_the_disk_has_no_room_for_is_refused_before_it_is_copied(
    run, workplace, version, paths, monkeypatch
):
    free = shutil.disk_usage(run.folder).free
    monkeypatch.setattr(copies, "SPARE_BYTES", free - (1 << 20))

    def call():
        path = workplace / "large.bin"
        path.write_bytes(os.urandom(4 << 20))
        return str(path)

    train(run, call)
    assert version() == set()
    assert "large.bin" not in {path.name for path in paths.root.rglob("*")}
    assert "4 MiB" in run.notes[0] and "free" in run.notes[0]


HEARD = """
import sys, timeit
from modelyard.models_plugin.deepaas.hearing import Hearing
from pathlib import Path
plain = min(timeit.repeat("id(7)", number=100_000, repeat=5))
with Hearing(lambda folder: None, Path("heard")):
    print((min(timeit.repeat("id(7)", number=100_000, repeat=5)) - plain) * 10)
"""


def test_hearing_costs_little(workplace):
    told = subprocess.check_output([sys.executable, "-c", HEARD], text=True)
    assert float(told) < 30  # us for each event; 0.2 on an idle machine
