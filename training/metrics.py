"""metrics.jsonl: the numbers that a run reports, one step a line, written in batches.

Written by the run process, read by the server. A line that is not ended yet is not read; numbers
that JSON does not have (NaN, infinity) are null. Python 3.8 syntax, standard library (orjson if it
is there).
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .paths import open_file, open_to_append

try:
    import orjson
except ImportError:  # a model's own interpreter may lack it
    orjson = None  # type: ignore[assignment]

LAST_STEP = 2**63 - 1
"""Steps are 64-bit integers: so they are in metrics.jsonl and in TensorBoard's files."""

_LONGEST_NAME, _LONGEST_SHOWN = 200, 60  # characters
_RESUMED = "resumed_after"
"""The one member of a line that is no point; readers of earlier releases leave it out."""


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


def checked_step(step: Any) -> int:
    """`step` (numpy's integers are such, too) as an int; ValueError if it is no count of steps."""
    try:
        number = operator.index(step)
    except TypeError:
        raise ValueError(f"the step must be an integer, not {shown(step)}") from None
    if not 0 <= number <= LAST_STEP:
        raise ValueError(f"the step must be from 0 to 2**63 - 1, not {shown(number)}")
    return number


def checked_names(names: Iterable[str]) -> None:
    """Raises ValueError if one of them is too long or has no UTF-8."""
    for name in names:
        if len(name) > _LONGEST_NAME:
            raise ValueError(
                f"the name of a metric has at most {_LONGEST_NAME} characters, not {len(name)}"
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            told = f"the name of a metric must be text that UTF-8 can hold, not {shown(name)}"
            raise ValueError(told) from None


def as_floats(values: Mapping[str, Any]) -> dict[str, float]:
    """All as floats, with plain str names; ValueError if one is no number. NaN is one."""
    return {str.__str__(name): _as_float(name, value) for name, value in values.items()}


def _as_float(name: str, value: Any) -> float:
    try:
        if not isinstance(value, (str, bytes, bytearray)):  # "0.5" is no number
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"the value of the metric {name!r} is no number: {shown(value)}")


def shown(value: Any) -> str:
    """A value in the words of an error. Nothing of a long one: a part of a secret argument's value
    would not be known as such, and not be blotted out."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_NAME:
        return f"an integer of {value.bit_length()} bits"  # its digits may be refused, and long
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"a {type(value).__name__}, which is too long"


class MetricsWriter:
    """Appends points; in the run process, used by one thread."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_to_append(path)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and path.read_bytes()[-1:] != b"\n":  # the last writer was killed in a line
            self._size += os.write(self._descriptor, b"\n")

    def write(self, points: Iterable[Point]) -> None:
        """Appends them all or, raising OSError (disk full), none: they may be written again."""
        self._append(
            b"".join(
                _dumps({"step": p.step, "time": p.time, "values": p.values}) + b"\n" for p in points
            )
        )

    def resume_after(self, step: int) -> None:
        """Says that what was reported after `step` is void: the training goes on from there."""
        self._append(json.dumps({_RESUMED: step}).encode() + b"\n")

    def _append(self, lines: bytes) -> None:
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
    offset stays. Of a run that was resumed, steps may come again: what came last counts.
    """
    lines, end = _read_lines(path, offset)
    return [point for line in lines if (point := _point(line))], end


def _read_lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    try:
        with open_file(path) as file:
            file.seek(offset)
            data = file.read(4 << 20)
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return whole.splitlines(), offset + len(whole)


def read_series(path: Path, names: Collection[str] | None = None, since: int = -1) -> Series:
    """All points with a step after `since`, by metric; `names` None means all metrics.

    What an attempt reported after the checkpoint that the next one went on from is left out.
    """
    series: dict[str, list[list[Any]]] = {}
    last_step, offset = None, 0
    while True:
        lines, end = _read_lines(path, offset)
        if end == offset:
            return Series(series, last_step)
        offset = end
        for line in lines:
            point = _point(line)
            if point is None:
                resumed_after = _resumed_after(line)
                if resumed_after is not None and last_step is not None:
                    last_step = min(last_step, resumed_after)
                    series = _up_to(series, resumed_after)
                continue
            last_step = point.step if last_step is None else max(last_step, point.step)
            if point.step <= since:
                continue
            for name, value in point.values.items():
                if names is None or name in names:
                    series.setdefault(name, []).append([point.step, point.time, value])


def _up_to(series: dict[str, list[list[Any]]], step: int) -> dict[str, list[list[Any]]]:
    kept = {name: [one for one in points if one[0] <= step] for name, points in series.items()}
    return {name: points for name, points in kept.items() if points}


def _resumed_after(line: bytes) -> int | None:
    if _RESUMED.encode() not in line:
        return None
    try:
        step = _loads(line)[_RESUMED]
    except (ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None


def _point(line: bytes) -> Point | None:
    try:
        data = _loads(line)
        return Point(data["step"], data["time"], data["values"])
    except (ValueError, KeyError, TypeError):
        return None  # a line that a killed writer began and its successor ended


def _standard_dumps(data: dict[str, Any]) -> bytes:
    values = {
        name: value if value is None or math.isfinite(value) else None
        for name, value in data["values"].items()
    }
    return json.dumps({**data, "values": values}, separators=(",", ":"), allow_nan=False).encode()


_dumps = _standard_dumps if orjson is None else orjson.dumps
_loads = json.loads if orjson is None else orjson.loads
