"""What a checkpoint may hold: all of it comes into the version, or its author is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from yard_rights import run_as_others

from modelyard.errors import Corrupt
from modelyard.members import CannotBeKept, kept_fault, open_member
from modelyard.models_plugin.stored_weights import StoredWeights
from modelyard.storage.archives.export import export
from modelyard.storage.archives.formats import ArchiveFormat
from modelyard.storage.archives.import_ import import_archive
from modelyard.storage.versions import install_version
from modelyard.training.checkpoints import CheckpointIndex, Checkpoints
from modelyard.training.finish import _take, bundle
from modelyard.training.messages import RunOrder
from modelyard.training.paths import RunPaths, read_json

sys.path.append(str(Path(__file__).parent / "plugins"))
from linking import put

REFUSED = {
    "out": "leads out of the folder. Put a copy",
    "nothing": "link to nothing. Remove it",
    "itself": "leads to itself. Remove it",
    "circle": "leads to a folder which it is in. Put a copy",
    "pipe": "is a pipe, a socket or a device. Remove it",
    "socket": "is a pipe, a socket or a device. Remove it",
}
NAMES = {
    "C:odd": "has a colon",
    "odd\\x": "has a backslash",
    "odd\udcff": "no UTF-8",
}


def save(paths, step, what, where="weights"):
    with Checkpoints(paths).save(step, None, True, None) as checkpoint:
        (checkpoint.weights / "good.txt").write_text("good")
        put(what, getattr(checkpoint, where))


@pytest.mark.parametrize("where", ["weights", "state"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_no_version_can_hold_fails_the_checkpoint_and_is_named(tmp_path, what, where):
    paths = RunPaths(tmp_path)
    save(paths, 1, "well.txt")
    with pytest.raises(CannotBeKept) as failed:
        save(paths, 2, what, where)
    said = str(failed.value)
    assert said.startswith(f"the checkpoint of step 2 is not saved: in its folder {where}, ")
    assert "'inner/odd'" in said and REFUSED[what] in said and str(tmp_path) not in said
    assert CheckpointIndex.read(paths).last == 1, "the checkpoints are as before"
    assert sorted(p.name for p in paths.checkpoints.iterdir()) == ["0000000001", "index.json"]


@pytest.mark.parametrize("where", ["weights", "state"])
def test_a_file_that_has_another_name_elsewhere_is_copied_and_the_other_let_alone(tmp_path, where):
    other = tmp_path / "other.bin"
    other.write_text("mine")
    other.chmod(0o640)
    paths = RunPaths(tmp_path / "run")
    paths.root.mkdir()
    with Checkpoints(paths).save(1, None, True, None) as checkpoint:
        (checkpoint.weights / "good.txt").write_text("good")
        folder = getattr(checkpoint, where)
        os.link(other, folder / "linked.bin")
        (folder / "shown.bin").symlink_to("linked.bin")
    kept = paths.checkpoint(1) / where
    other.write_text("changed")
    assert (kept / "linked.bin").read_text() == (kept / "shown.bin").read_text() == "mine"
    assert other.stat().st_nlink == 1 and (kept / "linked.bin").stat().st_mode & 0o777 == 0o640


_UNREADABLE = """
import sys
from pathlib import Path
from modelyard.members import CannotBeKept
from modelyard.training.checkpoints import Checkpoints
from modelyard.training.paths import RunPaths
try:
    with Checkpoints(RunPaths(Path(sys.argv[1]))).save(1, None, True, None) as checkpoint:
        (checkpoint.weights / "shut.bin").touch(0)
except CannotBeKept as error:
    assert "'shut.bin' may not be read" in str(error), error
else:
    raise SystemExit("taken")
"""


def test_a_file_that_its_owner_may_not_read_is_named(tmp_path):
    run_as_others(_UNREADABLE, tmp_path)


@pytest.mark.parametrize("where", ["weights", "state"])
def test_a_folder_that_was_replaced_by_a_link_is_refused_and_what_it_leads_to_is_let_alone(
    tmp_path, where
):
    (tmp_path / "elsewhere").mkdir()
    put("snapshot", tmp_path / "elsewhere")
    paths = RunPaths(tmp_path / "run")
    paths.root.mkdir()
    saving = Checkpoints(paths).save(1, None, True, None)
    with pytest.raises(CannotBeKept, match="itself was replaced by a link"), saving as checkpoint:
        (checkpoint.weights / "good.txt").write_text("good")
        folder = getattr(checkpoint, where)
        folder.rename(tmp_path / "away")
        folder.symlink_to(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "latest").is_symlink()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_archive_gives_back_fails_the_checkpoint_and_is_named(tmp_path, name):
    paths = RunPaths(tmp_path)
    with pytest.raises(CannotBeKept) as failed:
        save(paths, 1, name)
    said = str(failed.value)
    assert repr(f"inner/{name}") in said and NAMES[name] in said and "another name" in said
    said.encode()  # it comes into the record
    save(paths, 1, name, "state")  # which never leaves this server


def test_a_path_that_is_too_long_for_archives_fails_the_checkpoint(tmp_path):
    saving = Checkpoints(RunPaths(tmp_path)).save(1, None, True, None)
    told = "too long: at most 255 bytes for each part, 1000 in all"
    with pytest.raises(CannotBeKept, match=told), saving as checkpoint:
        deep = checkpoint.weights / "/".join(["d" * 200] * 4)
        deep.mkdir(parents=True)
        (deep / ("f" * 192)).write_text("x")


def test_links_in_a_circle_of_folders_end(tmp_path):
    with pytest.raises(CannotBeKept, match="too many that links show"):
        save(RunPaths(tmp_path), 1, "many")


@pytest.mark.parametrize("where", ["weights", "state"])
def test_links_inside_the_folder_become_what_they_point_to(tmp_path, where):
    paths = RunPaths(tmp_path)
    save(paths, 1, "snapshot", where)
    folder = paths.checkpoint(1) / where
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    assert not any(path.is_symlink() for path in found.values())
    shown = ("absolute", "blobs/aa", "latest/model.bin", "snapshots/1/model.bin")
    assert {found[name].read_text() for name in shown} == {"the weights"}


def test_a_checkpoint_of_an_earlier_release_is_published_whole_or_not_at_all(tmp_path):
    (tmp_path / "old").mkdir()
    put("snapshot", tmp_path / "old")
    (tmp_path / "old" / "absolute").unlink()
    files, _ = _take(tmp_path / "old", tmp_path / "files")
    assert {item["path"] for item in files} == {
        "blobs/aa", "latest/model.bin", "snapshots/1/model.bin",
    }  # fmt: skip
    assert len({item["sha256"] for item in files}) == 1
    os.mkfifo(tmp_path / "old" / "odd")
    with pytest.raises(CannotBeKept, match="'odd' is a pipe"):
        _take(tmp_path / "old", tmp_path / "again")


def test_a_link_that_is_put_there_meanwhile_is_not_followed(tmp_path):
    (tmp_path / "in" / "folder").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("secret")
    (tmp_path / "in" / "link").symlink_to("../out")
    (tmp_path / "in" / "folder" / "file").symlink_to("../../out/file")
    os.mkfifo(tmp_path / "in" / "pipe")
    for path in ("link/file", "folder/file", "pipe"):
        with pytest.raises(CannotBeKept, match="was replaced"):
            open_member(tmp_path / "in", path)


async def test_a_training_whose_checkpoint_cannot_be_kept_fails_with_the_reason(new_run):
    run = new_run(module="linking:Linking", what="out")
    await run.launch()
    ended = await run.ended()
    assert (ended["status"], ended["reason"]) == ("error", "plugin_failed")
    told = read_json(run.paths.result)["error"]
    assert "'inner/odd' is a link that leads out of the folder" in told["message"]
    assert "with run.checkpoint" in told["traceback"], "the author sees which call it was"
    assert CheckpointIndex.read(run.paths).last == 1


async def test_a_training_that_saves_links_inside_makes_a_version_with_all_files(new_run):
    run = new_run(module="linking:Linking", what="snapshot")
    await run.launch()
    assert (await run.ended())["status"] == "done", run.last_words()
    manifest = read_json(run.paths.version_manifest)
    assert [item["path"] for item in manifest["files"]] == [
        "absolute", "blobs/aa", "good.txt", "latest/model.bin", "snapshots/1/model.bin",
    ]  # fmt: skip


async def test_a_file_that_is_written_after_it_was_hashed_is_found_when_it_is_first_loaded(
    new_run, tmp_path
):
    run = new_run(module="linking:Linking", what="well.txt")
    save(run.paths, 1, "well.txt")
    order, index = RunOrder.from_data(read_json(run.paths.run)), CheckpointIndex.read(run.paths)
    bundle(run.paths, order, index.item(1), "last", run.paths.version, "a" * 32)
    with (run.paths.checkpoint(1) / "weights" / "good.txt").open("r+") as file:
        file.write("G")  # a thread of the plugin's that still saves
    (tmp_path / "weights").mkdir()
    install_version(run.paths.version, tmp_path / "weights")
    with pytest.raises(Corrupt, match=r"good\.txt is not what its manifest says"):
        StoredWeights(tmp_path / "weights" / ("a" * 32) / "files").open()


@pytest.mark.parametrize("kind", ArchiveFormat)
async def test_every_name_that_is_kept_comes_back_out_of_an_archive(new_run, tmp_path, kind):
    names = ["a b", " ", "ä", "dot.", "~x", "con", "-x", '*?"<>|', "line\nbreak", "x" * 255]
    run = new_run(module="linking:Linking", what="well.txt")
    target = run.paths.root / "made"
    with Checkpoints(run.paths).save(9, 1.0, True, None) as checkpoint:
        deep = checkpoint.weights / "/".join(["d" * 200] * 3)
        deep.mkdir(parents=True)
        for folder in (checkpoint.weights, deep):
            for name in names:
                (folder / name).write_text(name)
    order = RunOrder.from_data(read_json(run.paths.run))
    item = CheckpointIndex.read(run.paths).item(9)
    made = bundle(run.paths, order, item, "best", target, "a" * 32)
    assert len(made.files) == 2 * len(names)
    archive = tmp_path / f"a.{kind.value}"
    with archive.open("wb") as out:
        export(target, kind, out)
    back = import_archive(archive, tmp_path / "back", "a")
    assert [item["path"] for item in back["files"]] == [item["path"] for item in made.files]


def test_what_is_kept_is_judged_as_archives_are_taken_in():
    assert kept_fault("a/b.bin") is None
    assert kept_fault("x" * 256).startswith("is too long")
    assert kept_fault("../x").startswith("leads out")
