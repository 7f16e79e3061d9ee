"""A stored version's files while a plugin loads them: read only, and looked at again."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from yard_rights import run_as_others

from modelyard.errors import Corrupt, PluginFailed
from modelyard.models_plugin.stored_weights import SEEN, StoredWeights


@pytest.fixture
def files(tmp_path):
    """The files of a version, whose manifest is beside them."""
    folder = tmp_path / "version" / "files"
    (folder / "inner").mkdir(parents=True)
    contents = {"a.bin": b"a" * 1000, "inner/b.bin": b"b" * 1000}
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    listed = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents.items()
    ]
    (folder.parent / "manifest.json").write_text(json.dumps({"files": listed}))
    return folder


def opened(files) -> StoredWeights:
    shared = StoredWeights(files)
    shared.open()
    return shared


def written(file):
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.write(b"x")


def test_what_is_only_read_is_well_however_often_it_is_opened(files):
    for _ in range(2):
        shared = opened(files)
        (files / "inner" / "b.bin").read_bytes()
        shared.check()
    assert set(json.loads((files.parent / SEEN).read_text())) == {"a.bin", "inner/b.bin"}


@pytest.mark.parametrize("change", [written, lambda file: file.unlink()], ids=["write", "remove"])
def test_a_change_while_it_is_loaded_is_found_then_and_every_time_after(files, change):
    shared = opened(files)
    change(files / "inner" / "b.bin")
    with pytest.raises(PluginFailed, match=r"inner/b\.bin.*tempfile"):
        shared.check()
    for _ in range(2):
        with pytest.raises(Corrupt, match=r"inner/b\.bin (is missing|is not what)") as found:
            opened(files)
    assert str(files) not in found.value.message


def test_a_change_after_it_was_loaded_is_found_when_it_is_opened_again(files):
    opened(files).check()
    written(files / "a.bin")
    with pytest.raises(Corrupt, match=r"a\.bin is not what its manifest says"):
        opened(files)


def test_a_copy_with_other_times_and_inodes_is_compared_once_and_known_then(files):
    opened(files).check()
    for path in ("a.bin", "inner/b.bin"):
        os.utime(files / path, ns=(1, 1))
    opened(files)
    assert json.loads((files.parent / SEEN).read_text())["a.bin"][1] == 1


def test_what_is_added_is_no_part_of_the_version(files):
    shared = opened(files)
    (files / "cache").write_text("of a library")
    shared.check()
    opened(files)


@pytest.mark.parametrize("text", [None, "{", '{"files": 1}', "[]"])
def test_a_folder_that_is_no_version_is_left_alone(files, text):
    (files.parent / "manifest.json").unlink()
    if text is not None:
        (files.parent / "manifest.json").write_text(text)
    shared = opened(files)
    assert (files / "a.bin").stat().st_mode & 0o200
    written(files / "a.bin")
    shared.check()
    assert not (files.parent / SEEN).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a.bin": 5}'])
def test_damaged_memory_of_states_is_made_anew(files, text):
    (files.parent / SEEN).write_text(text)
    opened(files).check()
    assert set(json.loads((files.parent / SEEN).read_text())) == {"a.bin", "inner/b.bin"}


_AS_OTHERS = """
import sys
from pathlib import Path
from modelyard.clearing import remove_tree
from modelyard.models_plugin.stored_weights import StoredWeights
from modelyard.storage.versions import fault_of

files = Path(sys.argv[1])
shared = StoredWeights(files)
shared.open()
def refused(work):
    try:
        work()
    except PermissionError:
        return
    raise SystemExit("not refused")
refused(lambda: (files / "inner" / "b.bin").open("r+b"))
refused(lambda: (files / "a.bin").write_bytes(b""))
shared.check()
assert fault_of(files.parent) is None, fault_of(files.parent)
assert remove_tree(files.parent) and not files.parent.exists()
"""


def test_nobody_but_root_can_write_into_them_and_the_server_can_remove_it(files):
    run_as_others(_AS_OTHERS, files)
