"""A small upload is in memory, and a file for whoever wants one."""

import os
from pathlib import Path

from modelyard.models_plugin.values import HeldFile, UploadedFile
from modelyard.schemas.fields import File


def held(folder, content=b"pixels"):
    return HeldFile("x", str(folder / "call" / "0001.png"), "image/png", "a.png", content)


def test_a_file_that_is_only_read_is_never_written(tmp_path):
    file = File(content_types=["image/*"], suffixes=[".png"], max_bytes=100).deserialize(
        held(tmp_path)
    )
    with file.open() as stream:
        assert stream.read() == b"pixels"
    assert (file.name, file.size, file.original_filename) == ("x", 6, "a.png")
    assert isinstance(file, UploadedFile)
    assert not list(tmp_path.iterdir())


def test_who_asks_for_its_path_finds_it_there(tmp_path):
    for ask in (lambda f: f.filename, lambda f: str(f.path), os.fspath):
        file = held(tmp_path / str(ask))
        (tmp_path / str(ask)).mkdir()
        assert Path(ask(file)).read_bytes() == b"pixels"
        assert ask(file).endswith("/0001.png")


def test_what_a_plugin_wrote_there_is_what_it_reads_afterwards(tmp_path):
    file = held(tmp_path)
    file.path.write_bytes(b"changed")
    assert file.path.read_bytes() == b"changed"
    with file.open() as stream:
        assert stream.read() == b"changed"
