"""What people read: tables, times, sizes. Programs get `--json`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..client import Run

_WIDE = 200  # columns of a pipe: nothing is cut there
_STYLES = {"done": "green", "ready": "green", "error": "red", "failed": "red", "running": "cyan"}
_FIRST = ("loss", "accuracy")
_METRICS_SHOWN = 4


def console(stderr: bool = False) -> Console:
    """Standard output (or error) with colours on a terminal, wide and plain elsewhere."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE, highlight=False)


def print_json(data: Any) -> None:
    """One JSON value, on several lines for a person."""
    click.echo(json.dumps(data, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table; texts of the server are shown as they are, never read as markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, no_wrap=position == 0, overflow="fold")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(empty)


def styled(value: Any) -> Text:
    text = "" if value is None else str(value)
    return Text(text, style=_STYLES.get(text.split(" ")[0], ""))


def state_of(run: Run) -> str:
    """`running training`, `error plugin_failed`, `running queued (2)`, `done`."""
    if not run.ended:
        place = "" if run.position is None else f" ({run.position})"
        return f"{run.status} {run.phase or ''}{place}".strip()
    return f"{run.status} {run.reason}" if run.status == "error" and run.reason else run.status


def moment(when: datetime | None) -> str:
    """Local date and time, or nothing."""
    return "" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def amount(run: Run) -> str:
    """How far a run has come."""
    progress = run.progress
    if progress.total:
        count = f"{progress.done or 0:g}/{progress.total:g}"
        # A text with numbers of its own ("epoch 3/15") says it already.
        told = any(character.isdigit() for character in progress.text)
        return progress.text if told else f"{count} {progress.text}".rstrip()
    if progress.text:
        return progress.text
    return f"step {progress.step}" if progress.step is not None else ""


def duration(run: Run) -> str:
    """How long the run has run, or ran: `1 h 02 min`, `42 s`."""
    if run.started_at is None:
        return ""
    seconds = ((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds()
    return in_time(max(0.0, seconds))


def in_time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def size(size_bytes: int | None) -> str:
    """`512 B`, `1.4 MB`: decimal units."""
    if size_bytes is None:
        return ""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable: the last unit returns")


def metrics(values: Mapping[str, float | None], told: str = "") -> str:
    """`loss 0.0312  accuracy 0.981`: losses and accuracies first. Left out is what the text
    `told` beside it names already."""
    names = sorted(set(values) - set(re.findall(r"\w+", told)), key=lambda n: (_rank(n), n))
    names = names[:_METRICS_SHOWN]
    return "  ".join(f"{name} {_number(values[name])}" for name in names)


def _rank(name: str) -> int:
    words = name.lower()
    return next((i for i, word in enumerate(_FIRST) if word in words), len(_FIRST))


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"
