"""metrics.jsonl: the numbers that a run reports, one step a line, written in batches.

Written by the run process, read by the server. A line that is not ended yet is not read; numbers
that JSON does not have (NaN, infinity) are null.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson


class Point(NamedTuple):
    """What was reported at one step; `time` is Unix time in seconds."""

    step: int
    time: float
    values: Mapping[str, float | None]


@dataclass
class Series:
    """Each metric's `[step, time, value]` in the order reported; `last_step` None: nothing yet."""

    series: dict[str, list[list[Any]]]
    last_step: int | None


class MetricsWriter:
    """Appends points; in the run process, used by one thread."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._size = os.fstat(self._descriptor).st_size
        if self._size and path.read_bytes()[-1:] != b"\n":  # the last writer was killed in a line
            self._size += os.write(self._descriptor, b"\n")

    def write(self, points: Iterable[Point]) -> None:
        """Appends them all or, raising OSError (disk full), none: they may be written again."""
        lines = b"".join(
            orjson.dumps({"step": p.step, "time": p.time, "values": p.values}) + b"\n"
            for p in points
        )
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written

    def close(self) -> None:
        os.close(self._descriptor)


def read_points(path: Path, offset: int = 0) -> tuple[list[Point], int]:
    """The points after byte `offset`, and the offset to go on from; for following a run.

    An `offset` beyond the end gives nothing. Reads at most 4 MiB at once: call again until the
    offset stays.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(4 << 20)
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [point for line in whole.splitlines() if (point := _point(line))], offset + len(whole)


def read_series(path: Path, names: Collection[str] | None = None, since: int = -1) -> Series:
    """All points with a step after `since`, by metric; `names` None means all metrics."""
    series: dict[str, list[list[Any]]] = {}
    last_step, offset = None, 0
    while True:
        points, end = read_points(path, offset)
        if end == offset:
            return Series(series, last_step)
        offset = end
        for point in points:
            last_step = point.step if last_step is None else max(last_step, point.step)
            if point.step <= since:
                continue
            for name, value in point.values.items():
                if names is None or name in names:
                    series.setdefault(name, []).append([point.step, point.time, value])


def _point(line: bytes) -> Point | None:
    try:
        data = orjson.loads(line)
        return Point(data["step"], data["time"], data["values"])
    except (ValueError, KeyError, TypeError):
        return None  # a line that a killed writer began and its successor ended
