"""Checks and completes a data set's splits. Runs in the run process, before the first step."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..values import InvalidData
from .layout import SPLITS, TRAIN, VAL, Layout, Sample


def check_splits(layout: Layout) -> None:
    """Raises InvalidData if a split is empty, if a picture has two labels, if a class has no
    training pictures, or if a picture of one split is in another one too: the same file, or another
    file with the same bytes."""
    for split, samples in layout.splits.items():
        if not samples:
            raise InvalidData(f"the split {split!r} has no pictures")
    _check_classes(layout)
    _check_files(layout)


def with_validation(layout: Layout, fraction: float, seed: int) -> Layout:
    """`layout` with a stratified validation split taken from train, if it has none yet.

    Each class gives its `fraction` in whole pictures, at least one, and keeps at least one; with a
    fraction of 0 there is no validation. The same seed takes the same pictures.
    """
    if VAL in layout.splits or fraction <= 0:
        return layout
    chance = random.Random(seed)
    by_label: defaultdict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(layout.splits[TRAIN]):
        by_label[sample.label].append(index)
    taken: set[int] = set()
    for label in sorted(by_label):
        members = by_label[label]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        taken.update(chance.sample(members, count))
    train = layout.splits[TRAIN]
    parts = {
        TRAIN: [sample for index, sample in enumerate(train) if index not in taken],
        VAL: [sample for index, sample in enumerate(train) if index in taken],
    }
    if not parts[VAL]:
        return layout
    return replace(layout, splits={**layout.splits, **parts})


def count_by_class(samples: Iterable[Sample], classes: int) -> list[int]:
    counts = [0] * classes
    for sample in samples:
        counts[sample.label] += 1
    return counts


def _check_classes(layout: Layout) -> None:
    counts = count_by_class(layout.splits[TRAIN], len(layout.classes))
    empty = [name for name, count in zip(layout.classes, counts, strict=True) if count == 0]
    if empty:
        raise InvalidData(f"no training pictures of the class {', '.join(empty[:5])}")


def _check_files(layout: Layout) -> None:
    """The same file is told by device and inode, so links do not hide it. Only files of one size in
    several splits are hashed: seldom, where pictures are large."""
    seen: dict[tuple[int, int], tuple[str, Sample]] = {}
    by_size: defaultdict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for split, sample in _all(layout.splits):
        try:
            found = sample.path.stat()
        except OSError as error:
            raise sample.fault(f"it cannot be read: {error.strerror}") from error
        first_split, first = seen.setdefault((found.st_dev, found.st_ino), (split, sample))
        if first_split != split:
            raise sample.fault(
                f"a leak between splits: this picture is in {first_split} too ({_at(first)})"
            )
        if first.label != sample.label:
            raise sample.fault(f"it has the labels {first.label} and {sample.label} ({_at(first)})")
        by_size[found.st_size].append((split, sample))
    for members in by_size.values():
        if len({split for split, _ in members}) > 1:
            _check_same_bytes(members)


def _check_same_bytes(members: list[tuple[str, Sample]]) -> None:
    seen: dict[bytes, tuple[str, Sample]] = {}
    for split, sample in members:
        try:
            digest = hashlib.blake2b(sample.path.read_bytes(), digest_size=16).digest()
        except OSError as error:
            raise sample.fault(f"it cannot be read: {error.strerror}") from error
        first_split, first = seen.setdefault(digest, (split, sample))
        if first_split != split:
            raise sample.fault(
                f"a leak between splits: it has the same bytes as {first.name} in {first_split}"
            )


def _all(splits: Mapping[str, list[Sample]]) -> Iterable[tuple[str, Sample]]:
    for split in SPLITS:
        for sample in splits.get(split, ()):
            yield split, sample


def _at(sample: Sample) -> str:
    return sample.file if sample.line is None else f"{sample.file}:{sample.line}"
