"""Writes scikit-learn's handwritten digits out as pictures, to try the classifier with.

    python -m modelyard.models_plugin.image_classifier.demo_data FOLDER [--layout folders|lists]

1797 grey pictures of 8 x 8 pixels in ten classes, from the test set of Alpaydin and Kaynak's
optical recognition of handwritten digits (UCI, 1998), which ships inside scikit-learn. The split is
stratified and always the same: of each class, 20 % test, 10 % val, 70 % train.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = {"test": 0.2, "val": 0.1}
"""Parts of each class, rounded to whole pictures; the rest is train."""

_SEED = 0


def write_digits(folder: Path, layout: str = "folders") -> dict[str, int]:
    """Writes the data set below `folder`; how many pictures each split has.

    `layout`: "folders" for train/CLASS/*.png, "lists" for images/ with dataset_files/*.txt.
    Raises FileExistsError if the folder has something in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    # Imported here: it takes a second, and only this function needs it.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped,unused-ignore]

    digits = load_digits()
    split_of = _split(digits.target.tolist())
    lines: defaultdict[str, list[str]] = defaultdict(list)
    counts = dict.fromkeys(("train", "val", "test"), 0)
    for index, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split, name = split_of[index], f"{index:04d}.png"
        inner = f"{split}/{label}/{name}" if layout == "folders" else f"images/{label}/{name}"
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(values * 255 / 16).astype(np.uint8)).save(target)
        lines[split].append(f"{label}/{name} {label}")
        counts[split] += 1
    if layout == "lists":
        _write_lists(folder / "dataset_files", lines)
    return counts


def _split(labels: list[int]) -> list[str]:
    chance = random.Random(_SEED)
    split_of = ["train"] * len(labels)
    for label in sorted(set(labels)):
        members = [index for index, other in enumerate(labels) if other == label]
        chance.shuffle(members)
        for split, part in PARTS.items():
            count = round(part * labels.count(label))
            for index in members[:count]:
                split_of[index] = split
            members = members[count:]
    return split_of


def _write_lists(folder: Path, lines: dict[str, list[str]]) -> None:
    folder.mkdir()
    names = [str(label) for label in range(10)]
    texts = {"classes": names, "info": [f"the digit {name}" for name in names], **lines}
    for name, content in texts.items():
        (folder / f"{name}.txt").write_text("\n".join(content) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes handwritten digits out as pictures.")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--layout", choices=("folders", "lists"), default="folders")
    given = parser.parse_args()
    counts = write_digits(given.folder, given.layout)
    print(f"{given.folder}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
