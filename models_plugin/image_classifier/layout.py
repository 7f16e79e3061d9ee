"""From a folder on disk to classes and labelled samples, in either of the two layouts.

    train/CLASS/*.png              images/ANY/PATH.png
    val/CLASS/*.png    (optional)  dataset_files/classes.txt    one class name a line
    test/CLASS/*.png   (optional)  dataset_files/train.txt      path below images/, label from 0
                                   dataset_files/val.txt, test.txt, info.txt   (optional)

Lines of info.txt say something of the class in the same line of classes.txt. Runs in run processes
and where a stored dataset is looked at. Raises InvalidData with file and line; files are named as
seen from the data set's root.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..values import InvalidData
from .fence import Fence

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)
_FOLDER_NAMES = {TRAIN: ("train",), VAL: ("val", "valid", "validation"), TEST: ("test",)}
_LISTS = "dataset_files"
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `name` is its path as seen from the root; `file` and `line` are where
    its label stands (the picture itself and None where the folder's name is the label)."""

    path: Path
    label: int
    name: str
    file: str
    line: int | None = None

    def fault(self, message: str) -> InvalidData:
        """An InvalidData about this sample."""
        return InvalidData(
            message if self.line is None else f"{self.name}: {message}", self.file, self.line
        )


@dataclass(frozen=True)
class Layout:
    """What a data set holds. `splits` has `train`, and `val` and `test` where they exist."""

    classes: tuple[str, ...]
    splits: dict[str, list[Sample]]
    info: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)


OnFault = Callable[[InvalidData], None]
"""Told of a sample that cannot be taken: raises, or lets it be left out."""


def _refuse(fault: InvalidData) -> None:
    raise fault


def read_layout(folder: Path, data_root: Path | None = None, on_fault: OnFault = _refuse) -> Layout:
    """Reads the layout in `folder`, or in the only folder that is in it.

    Links that lead out of `folder` and of `data_root` are refused. Raises InvalidData; where the
    fault is that of one sample only if `on_fault` does.
    """
    fence = Fence(folder) if data_root is None else Fence(folder, data_root)
    root = _root(folder, fence)
    read = _read_lists if (root / _LISTS).is_dir() else _read_folders
    layout = read(root, fence, on_fault)
    if len(layout.classes) < 2:
        raise InvalidData(f"one class is not enough to tell apart: {', '.join(layout.classes)}")
    return layout


def _root(folder: Path, fence: Fence) -> Path:
    """Archives often hold one folder that holds all the rest."""
    for _ in range(3):
        if (folder / _LISTS).is_dir() or (folder / "train").is_dir():
            return folder
        entries = list(_visible(folder, fence, folder))
        if len(entries) != 1 or not entries[0].is_dir():
            break
        folder = entries[0]
    raise InvalidData(
        "neither layout is there: wanted train/CLASS/picture.png,"
        f" or images/ with {_LISTS}/classes.txt and {_LISTS}/train.txt;"
        f" found {_found(folder, fence)}"
    )


def _found(folder: Path, fence: Fence) -> str:
    names = [entry.name for entry in _visible(folder, fence, folder)]
    shown = ", ".join(names[:8]) or "nothing"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _visible(root: Path, fence: Fence, folder: Path) -> Iterator[Path]:
    """Entries of `folder` by name, without hidden ones and what other systems leave behind."""
    shown = folder.name if folder == root else _shown(root, folder)
    fault = fence.folder_fault(folder)
    if fault is not None:
        raise InvalidData(fault, shown)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InvalidData(f"it cannot be read: {error.strerror}", shown) from error
    for path in entries:
        if not path.name.startswith(".") and path.name.lower() not in _JUNK:
            yield path


# -- class-per-folder ------------------------------------------------------------------------------


def _read_folders(root: Path, fence: Fence, on_fault: OnFault) -> Layout:
    folders = {split: _split_folder(root, split) for split in SPLITS}
    known = {folder.name for folder in folders.values() if folder is not None}
    notes = [
        f"{entry.name} is no split and was left out"
        for entry in _visible(root, fence, root)
        if entry.name not in known
    ]
    train = folders[TRAIN]
    assert train is not None  # _root has seen it
    classes = tuple(entry.name for entry in _class_folders(root, fence, train))
    splits = {
        split: list(_folder_samples(root, fence, folder, classes, on_fault))
        for split, folder in folders.items()
        if folder is not None
    }
    return Layout(classes, splits, notes=notes)


def _split_folder(root: Path, split: str) -> Path | None:
    there = [root / name for name in _FOLDER_NAMES[split] if (root / name).is_dir()]
    if len(there) > 1:
        raise InvalidData(
            f"{there[0].name} and {there[1].name} are both there: keep one", root.name
        )
    return there[0] if there else None


def _class_folders(root: Path, fence: Fence, folder: Path) -> Iterator[Path]:
    for entry in _visible(root, fence, folder):
        if not entry.is_dir():
            raise InvalidData("a file stands where folders of classes belong", _shown(root, entry))
        yield entry


def _folder_samples(
    root: Path, fence: Fence, folder: Path, classes: tuple[str, ...], on_fault: OnFault
) -> Iterator[Sample]:
    labels = {name: label for label, name in enumerate(classes)}
    for class_folder in _class_folders(root, fence, folder):
        if class_folder.name not in labels:
            shown = _shown(root, class_folder)
            on_fault(InvalidData(f"the class {class_folder.name!r} is not in train", shown))
            continue
        for path in _visible(root, fence, class_folder):
            name = _shown(root, path)
            fault = fence.file_fault(path)
            if fault is not None:
                on_fault(InvalidData(fault, name))
                continue
            yield Sample(path, labels[class_folder.name], name, name)


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


# -- images/ and dataset_files/ --------------------------------------------------------------------


def _read_lists(root: Path, fence: Fence, on_fault: OnFault) -> Layout:
    classes = _read_classes(root, fence)
    for needed in ("images", f"{_LISTS}/train.txt"):
        if not (root / needed).exists():
            raise InvalidData("it is missing", needed)
    splits = {
        split: list(_list_samples(root, fence, f"{_LISTS}/{split}.txt", len(classes), on_fault))
        for split in SPLITS
        if (root / _LISTS / f"{split}.txt").exists()
    }
    info, notes = _read_info(root, fence, len(classes))
    return Layout(classes, splits, info, notes)


def _read_classes(root: Path, fence: Fence) -> tuple[str, ...]:
    file = f"{_LISTS}/classes.txt"
    seen: dict[str, int] = {}
    for number, line in _lines(root, fence, file):
        if not line:
            raise InvalidData("a class has no name", file, number)
        if line in seen:
            raise InvalidData(f"{line!r} stands in line {seen[line]} too", file, number)
        seen[line] = number
    if not seen:
        raise InvalidData("it names no class", file)
    return tuple(seen)


def _read_info(root: Path, fence: Fence, classes: int) -> tuple[tuple[str, ...] | None, list[str]]:
    file = f"{_LISTS}/info.txt"
    if not (root / file).exists():
        return None, []
    lines = tuple(line for _, line in _lines(root, fence, file))
    if len(lines) != classes:
        return None, [f"{file} has {len(lines)} lines for {classes} classes and was left out"]
    return lines, []


def _list_samples(
    root: Path, fence: Fence, file: str, classes: int, on_fault: OnFault
) -> Iterator[Sample]:
    for number, line in _lines(root, fence, file):
        if not line:
            continue
        try:
            sample = _list_sample(root, fence, file, number, line, classes)
        except InvalidData as fault:
            on_fault(fault)
            continue
        yield sample


def _list_sample(
    root: Path, fence: Fence, file: str, number: int, line: str, classes: int
) -> Sample:
    parts = line.rsplit(None, 1)
    if len(parts) != 2:
        raise InvalidData("wanted a path and a label number", file, number)
    label = _label(parts[1], classes, file, number)
    path = posixpath.normpath(parts[0].replace("\\", "/"))
    if path.startswith(("/", "../")) or path == "..":
        raise InvalidData(f"{parts[0]} leads out of images/", file, number)
    name = f"images/{path}"
    fault = fence.folder_fault((root / name).parent)  # first: nothing is looked up outside
    if fault is None and not os.path.lexists(root / name):
        raise InvalidData(f"there is no picture {name}", file, number)
    fault = fence.file_fault(root / name)
    if fault is not None:
        raise InvalidData(f"{name}: {fault}", file, number)
    return Sample(root / name, label, name, file, number)


def _label(text: str, classes: int, file: str, number: int) -> int:
    try:
        label = int(text)
    except ValueError:
        raise InvalidData(f"the label {text!r} is no number", file, number) from None
    if not 0 <= label < classes:
        raise InvalidData(
            f"the label {label} is out of range: classes are 0 to {classes - 1}", file, number
        )
    return label


def _lines(root: Path, fence: Fence, file: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, stripped; empty ones at the end are left out."""
    fault = fence.file_fault(root / file) if os.path.lexists(root / file) else None
    if fault is not None:
        raise InvalidData(fault, file)
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidData("it is missing", file) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(f"it cannot be read as UTF-8 text: {error}", file) from error
    for number, line in enumerate(text.rstrip().split("\n") if text.strip() else (), 1):
        yield number, line.strip()
