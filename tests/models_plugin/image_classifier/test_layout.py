"""Both layouts are read; each fault of the data is told with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from modelyard.models_plugin.image_classifier.demo_data import write_digits
from modelyard.models_plugin.image_classifier.layout import Layout, read_layout
from modelyard.models_plugin.image_classifier.splits import check_splits, with_validation
from modelyard.models_plugin.values import InvalidData


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "folders"
    values = iter(range(100))
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                picture(root / split / name / f"{number}.png", next(values))
    return root


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    root = tmp_path / "lists"
    for number in range(8):
        picture(root / "images" / "some where" / f"{number}.png", number)
    write(root, "classes", "cat\ndog\n")
    write(root, "train", "".join(f"some where/{n}.png {n % 2}\n" for n in range(4)))
    write(root, "test", "some where/6.png 0\nsome where/7.png 1\n")
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / "dataset_files").mkdir(exist_ok=True)
    (root / "dataset_files" / f"{name}.txt").write_text(text)


def refused(root: Path) -> InvalidData:
    with pytest.raises(InvalidData) as caught:
        check_splits(read_layout(root))
    return caught.value


def counts(layout: Layout) -> dict[str, int]:
    return {split: len(samples) for split, samples in layout.splits.items()}


def test_class_folders_are_read(folders: Path) -> None:
    layout = read_layout(folders)
    check_splits(layout)
    assert layout.classes == ("cat", "dog")
    assert counts(layout) == {"train": 8, "val": 2, "test": 2}
    assert [sample.label for sample in layout.splits["train"]] == [0] * 4 + [1] * 4


def test_lists_are_read_with_spaces_in_paths_and_texts_of_classes(lists: Path) -> None:
    write(lists, "info", "says meow\nsays woof\n")
    layout = read_layout(lists)
    check_splits(layout)
    assert (layout.classes, layout.info) == (("cat", "dog"), ("says meow", "says woof"))
    assert counts(layout) == {"train": 4, "test": 2}
    assert [sample.label for sample in layout.splits["train"]] == [0, 1, 0, 1]


def test_both_layouts_of_the_demo_data_hold_the_same(tmp_path: Path) -> None:
    layouts = []
    for kind in ("folders", "lists"):
        write_digits(tmp_path / kind, kind)
        layouts.append(read_layout(tmp_path / kind))
        check_splits(layouts[-1])
    first, second = layouts
    assert counts(first) == counts(second) == {"train": 1259, "val": 179, "test": 359}
    assert first.classes == second.classes == tuple("0123456789")
    for split in first.splits:
        of_first = {(sample.path.name, sample.label) for sample in first.splits[split]}
        assert of_first == {(sample.path.name, sample.label) for sample in second.splits[split]}


def test_the_only_folder_of_an_archive_is_entered(folders: Path) -> None:
    (folders.parent / ".hidden").mkdir()
    assert counts(read_layout(folders.parent)) == counts(read_layout(folders))


def test_what_other_systems_leave_behind_is_no_picture(folders: Path) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (folders / "train" / "cat" / name).write_bytes(b"junk")
    assert counts(read_layout(folders))["train"] == 8


def test_a_folder_in_neither_layout_says_what_was_wanted_and_found(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "dogs").mkdir()
    message = str(refused(tmp_path))
    assert "train/CLASS" in message and "cats, dogs" in message


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        (
            "train",
            "some where/0.png 0\nsome where/1.png 2\n",
            2,
            "out of range: classes are 0 to 1",
        ),
        ("train", "some where/0.png -1\n", 1, "out of range"),
        ("train", "some where/0.png cat\n", 1, "'cat' is no number"),
        ("train", "\n\nsome_where.png\n", 3, "wanted a path and a label"),
        (
            "train",
            "some where/0.png 0\nsome where/99.png 1\n",
            2,
            "no picture images/some where/99",
        ),
        ("train", "../../secret.png 0\n", 1, "leads out"),
        ("train", "/etc/hosts 0\n", 1, "leads out"),
        ("classes", "cat\ndog\ncat\n", 3, "stands in line 1 too"),
        ("classes", "cat\n\ndog\n", 2, "has no name"),
        ("test", "some where/6.png 0\n./some where/0.png 0\n", 2, "leak between splits"),
    ],
)
def test_a_fault_in_a_list_is_told_with_file_and_line(
    lists: Path, name: str, text: str, line: int, message: str
) -> None:
    write(lists, name, text)
    error = refused(lists)
    assert (error.file, error.line) == (f"dataset_files/{name}.txt", line)
    assert message in str(error)


def test_a_missing_list_is_told(lists: Path) -> None:
    (lists / "dataset_files" / "train.txt").unlink()
    assert refused(lists).file == "dataset_files/train.txt"
    (lists / "dataset_files" / "classes.txt").unlink()
    assert refused(lists).file == "dataset_files/classes.txt"


def test_one_picture_with_two_labels_is_refused(lists: Path) -> None:
    write(lists, "train", "some where/0.png 0\nsome where/1.png 1\nsome where/0.png 1\n")
    error = refused(lists)
    assert error.line == 3 and "labels 0 and 1" in str(error)


def test_the_same_bytes_in_two_splits_are_a_leak(folders: Path) -> None:
    shutil.copy(folders / "train/cat/0.png", folders / "test/dog/copy.png")
    error = refused(folders)
    assert error.file == "test/dog/copy.png" and "train/cat/0.png" in str(error)


def test_a_link_to_a_picture_of_another_split_is_a_leak(folders: Path) -> None:
    (folders / "val/cat/link.png").symlink_to(folders / "train/cat/0.png")
    assert "leak between splits" in str(refused(folders))


def test_a_class_that_only_test_has_is_refused(folders: Path) -> None:
    picture(folders / "test" / "mouse" / "0.png", 99)
    error = refused(folders)
    assert error.file == "test/mouse" and "not in train" in str(error)


def test_a_class_without_pictures_and_a_single_class_are_refused(folders: Path) -> None:
    shutil.rmtree(folders / "train" / "dog")
    shutil.rmtree(folders / "val")
    shutil.rmtree(folders / "test")
    assert "one class" in str(refused(folders))
    (folders / "train" / "dog").mkdir()
    assert "no training pictures of the class dog" in str(refused(folders))


def test_validation_is_taken_from_train_by_class_and_by_seed(folders: Path) -> None:
    shutil.rmtree(folders / "val")
    layout = read_layout(folders)
    first, again, other = (with_validation(layout, 0.5, seed) for seed in (1, 1, 2))
    assert counts(first) == {"train": 4, "test": 2, "val": 4}
    assert sorted(sample.label for sample in first.splits["val"]) == [0, 0, 1, 1]
    assert first.splits == again.splits != other.splits
    assert not {*first.splits["val"]} & {*first.splits["train"]}
    assert counts(with_validation(layout, 0, 1)) == {"train": 8, "test": 2}


def test_a_class_of_one_picture_keeps_it_for_training(folders: Path) -> None:
    shutil.rmtree(folders / "val")
    for number in (1, 2, 3):
        (folders / f"train/dog/{number}.png").unlink()
    layout = with_validation(read_layout(folders), 0.5, 0)
    assert {sample.label for sample in layout.splits["train"]} == {0, 1}
