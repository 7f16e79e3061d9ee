"""Exports beside a version's files: whole or not there, one file each, never a way out."""

import os
import zipfile

import pytest

from modelyard.errors import PluginFailed, WeightsNotFound
from modelyard.storage.exports import VersionExports

TOLD = {"max_difference": 0.5, "samples": 4, "opset": 20}


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / ("a" * 32)
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "model.safetensors").write_bytes(b"tensors")
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def exports(version):
    return VersionExports(version)


def test_one_file_is_handed_out_as_it_is(exports):
    (exports.begin("onnx") / "model.onnx").write_bytes(b"onnx")
    made = exports.end("onnx", TOLD)
    assert exports.path(made).read_bytes() == b"onnx"
    assert (made.file, made.size, made.max_difference, made.samples) == ("model.onnx", 4, 0.5, 4)
    assert made.details == {"opset": 20}
    assert exports.find("onnx") == made and exports.all() == [made]


def test_the_same_files_make_the_same_zip(exports):
    digests = set()
    for _ in range(2):
        folder = exports.begin("both")
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_text("b")
        (folder / "a").write_text("a")
        made = exports.end("both", TOLD)
        digests.add(made.sha256)
    assert len(digests) == 1
    with zipfile.ZipFile(exports.path(made)) as archive:
        assert archive.namelist() == ["a", "sub/b"]
    assert sorted(path.name for path in exports.path(made).parent.iterdir()) == [
        "both.zip",
        "export.json",
    ]


def test_links_are_no_way_to_other_files_of_the_machine(exports, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("key")
    folder = exports.begin("sly")
    (folder / "file").symlink_to(tmp_path / "secret")
    (folder / "good.onnx").write_text("good")
    with pytest.raises(PluginFailed, match="'file' is a link that leads out of the folder"):
        exports.end("sly", TOLD)
    (folder / "file").unlink()
    (folder / "folder").symlink_to(tmp_path / "private")
    with pytest.raises(PluginFailed, match="'folder' is a link that leads out of the folder"):
        exports.end("sly", TOLD)
    (folder / "folder").unlink()
    (folder / "again.onnx").symlink_to("good.onnx")
    made = exports.end("sly", TOLD)
    with zipfile.ZipFile(exports.path(made)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [b"good", b"good"]


def test_a_file_that_the_server_names_itself_is_refused(exports):
    (exports.begin("own") / "export.json").write_text("{}")
    with pytest.raises(PluginFailed, match=r"export\.json"):
        exports.end("own", TOLD)


def test_what_was_begun_is_not_there_and_is_gone_when_it_begins_again(exports):
    (exports.begin("onnx") / "half").write_text("half")
    assert exports.find("onnx") is None and exports.all() == []
    assert list(exports.begin("onnx").iterdir()) == []


def test_a_damaged_export_is_not_found_and_can_be_made_again(exports):
    for content in ("first", "second"):
        (exports.begin("text") / "a").write_text(content)
        made = exports.end("text", TOLD)
        os.truncate(exports.path(made), 1)
        assert exports.find("text") is None
    (exports._root / "text" / "export.json").write_text("[]")
    assert exports.all() == []


def test_the_versions_own_files_are_linked_not_copied(exports, version):
    exports.begin("safetensors")
    assert exports.link_files("safetensors", ".safetensors") == 1
    made = exports.end("safetensors", TOLD)
    assert exports.path(made).stat().st_ino == (
        (version / "files" / "model.safetensors").stat().st_ino
    )


def test_a_version_that_was_removed_has_no_exports(exports, version):
    (version / "manifest.json").unlink()
    with pytest.raises(WeightsNotFound):
        exports.begin("onnx")
