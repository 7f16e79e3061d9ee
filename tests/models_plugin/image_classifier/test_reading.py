"""What the classifier tells of a stored dataset: counts, sizes, and every fault, not the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelyard.models_plugin.image_classifier.reading import read_dataset
from modelyard.models_plugin.values import InvalidData


def picture(path: Path, number: int, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (side, side))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_pictures(root: Path, splits: dict[str, int], side: int = 8) -> Path:
    """So many pictures of each of two classes."""
    number = 0
    for split, count in splits.items():
        for name in ("across", "down"):
            for _ in range(count):
                number += 1
                picture(root / split / name / f"{number}.png", number, side)
    return root


def problems(told: dict) -> list[tuple[str | None, int | None, str]]:
    return [(p["file"], p["line"], p["level"]) for p in told["problems"]]


def test_classes_counts_and_sizes_are_told(tmp_path: Path) -> None:
    told = read_dataset(write_pictures(tmp_path / "x", {"train": 3, "test": 1}, side=9))
    assert told["classes"] == ["across", "down"]
    assert told["splits"] == {"train": 6, "test": 2}
    assert told["counts"]["train"] == {"across": 3, "down": 3}
    assert told["sizes"]["width"] == {"min": 9, "median": 9, "max": 9}
    assert (told["sizes"]["grey"], told["sizes"]["colour"]) == (8, 0)
    assert told["problems"] == []


def test_every_damaged_picture_is_told(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "x", {"train": 3})
    first, second, *_ = sorted((root / "train" / "down").iterdir())
    first.write_bytes(b"no picture")
    second.write_bytes(second.read_bytes()[:-30])  # its head is whole
    told = read_dataset(root)
    names = [path.relative_to(root).as_posix() for path in (first, second)]
    assert problems(told) == [(name, None, "error") for name in names]
    assert told["sizes"]["grey"] == 4


def test_every_wrong_line_of_a_list_is_told_with_its_number(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "images" / f"{number}.png", number)
    lists = tmp_path / "dataset_files"
    lists.mkdir()
    (lists / "classes.txt").write_text("down\nacross\n")
    (lists / "train.txt").write_text(
        "0.png 0\n1.png one\n1.png 1\n2.png 7\nmissing.png 0\n../out.png 1\n3.png\n2.png 0\n"
    )
    told = read_dataset(tmp_path)
    file = "dataset_files/train.txt"
    assert problems(told) == [(file, line, "error") for line in (2, 4, 5, 6, 7)]
    assert told["counts"] == {"train": {"down": 2, "across": 1}}


def test_a_picture_in_two_splits_is_told(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "x", {"train": 2, "val": 1})
    leaked = next((root / "train" / "down").iterdir())
    (root / "val" / "down" / "leak.png").write_bytes(leaked.read_bytes())
    told = read_dataset(root)
    assert ["leak" in p["message"] for p in told["problems"]] == [True]


def test_pictures_beyond_the_time_are_read_by_their_head_alone(tmp_path: Path) -> None:
    told = read_dataset(write_pictures(tmp_path / "x", {"train": 2}), decoding_s=-1.0)
    assert [(p["level"], "only the head" in p["message"]) for p in told["problems"]] == [
        ("note", True)
    ]


def test_what_is_neither_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InvalidData, match="neither layout"):
        read_dataset(tmp_path)
