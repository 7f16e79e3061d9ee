"""Only regular files of the data folder are opened, whatever lies in it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from modelyard.models_plugin.image_classifier.layout import read_layout
from modelyard.models_plugin.image_classifier.splits import check_splits
from modelyard.models_plugin.values import InvalidData


def picture(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "folders"
    for value in range(8):
        picture(root / "train" / ("cat", "dog")[value % 2] / f"{value}.png", value)
    return root


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "lists"
    for value in range(4):
        picture(root / "images" / "deep" / f"{value}.png", value)
    write(root, "classes", "cat\ndog\n")
    write(root, "train", "".join(f"deep/{value}.png {value % 2}\n" for value in range(4)))
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / "dataset_files").mkdir(exist_ok=True)
    (root / "dataset_files" / f"{name}.txt").write_text(text)


def refused(root: Path) -> InvalidData:
    with pytest.raises(InvalidData) as caught:
        check_splits(read_layout(root, root.parent))
    return caught.value


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


SPECIAL: list[tuple[str, Callable[[Path], None]]] = [
    ("a FIFO", os.mkfifo),
    ("a socket", make_socket),
    ("a folder", os.mkdir),
]


@pytest.mark.parametrize(("kind", "make"), SPECIAL)
def test_what_is_no_regular_file_is_told_and_never_opened(
    folders: Path, lists: Path, kind: str, make: Callable[[Path], None]
) -> None:
    make(folders / "train/cat/odd.png")
    error = refused(folders)
    assert error.file == "train/cat/odd.png" and kind in str(error)
    make(lists / "images/deep/odd.png")
    write(lists, "test", "deep/odd.png 0\n")
    error = refused(lists)
    assert (error.file, error.line) == ("dataset_files/test.txt", 1)
    assert f"images/deep/odd.png: this is {kind}" in str(error)


def test_a_link_to_a_device_is_told(folders: Path) -> None:
    os.mkfifo(folders / "train/cat/.fifo")
    (folders / "train/cat/odd.png").symlink_to(".fifo")
    error = refused(folders)
    assert error.file == "train/cat/odd.png" and "a FIFO" in str(error)


@pytest.mark.parametrize("name", ["classes", "train", "val", "info"])
def test_a_list_that_is_a_fifo_is_told(lists: Path, name: str) -> None:
    path = lists / "dataset_files" / f"{name}.txt"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    error = refused(lists)
    assert error.file == f"dataset_files/{name}.txt" and "a FIFO" in str(error)


@pytest.mark.parametrize(
    "link", ["train/cat/odd.png", "train/mouse", "val", "val/cat", "val/cat/odd.png"]
)
def test_a_link_that_leads_out_of_the_data_folder_is_refused(
    folders: Path, tmp_path: Path, link: str
) -> None:
    secret = picture(tmp_path / "outside/cat/cat/secret.png", 99)
    target = {1: tmp_path / "outside/cat", 2: secret.parent, 3: secret}[len(link.split("/"))]
    (folders / link).parent.mkdir(parents=True, exist_ok=True)
    (folders / link).symlink_to(target)
    error = refused(folders)
    assert error.file == link and "leads out of the data folder" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize("link", ["images/deep/odd.png", "images/deep", "images", "dataset_files"])
def test_lists_lead_through_no_link_out_either(lists: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    secret = picture(tmp_path / "outside/secret.png", 99)
    if link.endswith(".png"):
        (lists / link).symlink_to(secret)
        write(lists, "test", "deep/odd.png 0\n")
    else:
        moved = (lists / link).rename(tmp_path / "outside/moved")
        (lists / link).symlink_to(moved)
    assert "leads out of the data folder" in str(refused(lists))


def test_an_only_folder_that_leads_out_is_refused(folders: Path, tmp_path: Path) -> None:
    outer = tmp_path / "root" / "outer"
    outer.mkdir(parents=True)
    (outer / "inner").symlink_to(folders)
    error = refused(outer)
    assert error.file == "inner" and "leads out" in str(error)


def test_a_link_that_leads_nowhere_is_told(folders: Path) -> None:
    (folders / "train/cat/odd.png").symlink_to("gone.png")
    (folders / "train/dog/odd.png").symlink_to("odd.png")  # to itself
    assert refused(folders).file == "train/cat/odd.png"
    (folders / "train/cat/odd.png").unlink()
    assert refused(folders).file == "train/dog/odd.png"


def test_links_that_stay_inside_are_followed(folders: Path, lists: Path) -> None:
    (folders / "train/cat/more.png").symlink_to(picture(folders / "store/more.png", 50))
    (folders / "val").symlink_to(lists / "images")  # another data set of the same data root
    (lists / "images/deep").rename(lists / "images/dog")
    layout = read_layout(folders, folders.parent)
    assert {split: len(samples) for split, samples in layout.splits.items()} == {
        "train": 9,
        "val": 4,
    }
    assert "more.png" in [sample.path.name for sample in layout.splits["train"]]


def test_the_data_set_itself_may_be_a_link(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/linked").symlink_to(folders)
    check_splits(read_layout(tmp_path / "root/linked", tmp_path / "root"))


@pytest.mark.parametrize("place", ["", "train", "train/cat"])
def test_hidden_files_and_those_of_other_systems_are_skipped(folders: Path, place: str) -> None:
    for name in (".DS_Store", "._0.png", "Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini"):
        (folders / place / name).write_bytes(b"junk")
    (folders / place / ".ipynb_checkpoints").mkdir()
    os.mkfifo(folders / place / ".fifo")
    layout = read_layout(folders, folders.parent)
    check_splits(layout)
    assert (layout.classes, layout.notes) == (("cat", "dog"), [])
    assert len(layout.splits["train"]) == 8


def test_a_stray_file_among_the_classes_is_told(folders: Path) -> None:
    (folders / "train/notes.txt").write_text("stray")
    assert refused(folders).file == "train/notes.txt"
