"""What is told of a stored dataset before any training: classes, counts, sizes, and every fault.

Runs in a process of its own, as a task of the plugin.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..dataset_reading import problem_of
from ..values import InvalidData
from .images import BadImage, ImageHeader, decode, read_header
from .layout import Layout, Sample, read_layout
from .splits import check_splits, count_by_class

DECODING_S = 120.0
"""Seconds for which pictures are decoded to find damaged ones; of those after only the head is
read."""


def read_dataset(folder: Path, decoding_s: float = DECODING_S) -> dict[str, Any]:
    """As the contract's `read_dataset`. Faults of single samples and pictures are all told, not
    only the first. Raises InvalidData if neither layout is there."""
    faults: list[InvalidData] = []
    layout = read_layout(folder, on_fault=faults.append)
    samples = [sample for split in layout.splits.values() for sample in split]
    headers, damaged, unread = _look_at(samples, decoding_s)
    problems = [problem_of(fault) for fault in [*faults, *damaged]]
    try:
        check_splits(layout)
    except InvalidData as fault:
        problems.append(problem_of(fault))
    notes = list(layout.notes)
    if unread:
        notes.append(f"of {unread} pictures only the head was read, not the pixels")
    problems += [{"file": None, "line": None, "message": note, "level": "note"} for note in notes]
    return {
        "splits": {split: len(found) for split, found in layout.splits.items()},
        "classes": list(layout.classes),
        "counts": _counts(layout),
        "sizes": _sizes(headers),
        "problems": problems,
    }


def _counts(layout: Layout) -> dict[str, dict[str, int]]:
    return {
        split: dict(zip(layout.classes, count_by_class(found, len(layout.classes)), strict=True))
        for split, found in layout.splits.items()
    }


def _sizes(headers: list[ImageHeader]) -> dict[str, Any]:
    """Sides in pixels, and how many pictures are grey."""
    if not headers:
        return {}
    return {
        "width": _range(header.width for header in headers),
        "height": _range(header.height for header in headers),
        "grey": sum(header.grey for header in headers),
        "colour": sum(not header.grey for header in headers),
    }


def _range(values: Iterable[int]) -> dict[str, float]:
    known = sorted(values)
    return {"min": known[0], "median": statistics.median(known), "max": known[-1]}


def _look_at(
    samples: list[Sample], decoding_s: float
) -> tuple[list[ImageHeader], list[InvalidData], int]:
    """Headers of those that can be read, the faults of those that cannot, and of how many the
    pixels were not read."""
    until = time.monotonic() + decoding_s

    def look(sample: Sample) -> tuple[ImageHeader | InvalidData, bool]:
        decoded = time.monotonic() < until
        try:
            header = read_header(sample.path)
            if decoded:
                decode(sample.path, 8, 1)
        except BadImage as error:
            return sample.fault(str(error)), True
        return header, decoded

    headers: list[ImageHeader] = []
    faults: list[InvalidData] = []
    unread = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "look") as pool:
        for found, decoded in pool.map(look, samples):
            unread += not decoded
            if isinstance(found, InvalidData):
                faults.append(found)
            else:
                headers.append(found)
    return headers, faults, unread
