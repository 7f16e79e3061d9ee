"""Shows how far bytes are on their way: a bar on a terminal, plain lines elsewhere, to programs
nothing. All of it goes to standard error: standard output is for what a command found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from . import printing
from .server_options import wants_json

_LINE_EVERY_S = 5.0


class Transfer(Protocol):
    """One thing after another that takes its time."""

    def tell(self, what: str, done: int = 0, total: int | None = None) -> None:
        """`what` is under way: so many bytes of so many (None: nobody knows)."""
        ...


@contextmanager
def shown(ctx: click.Context, stopped: str = "Nothing was changed.") -> Iterator[Transfer]:
    """What shows the transfers of a command. May be told from any thread.

    Ctrl-C ends the command with exit code 130, and `stopped` says how things are then.
    """
    try:
        with _shown(ctx) as transfer:
            yield transfer
    except KeyboardInterrupt:
        click.echo(f"\nStopped. {stopped}", err=True)
        raise click.exceptions.Exit(130) from None


@contextmanager
def _shown(ctx: click.Context) -> Iterator[Transfer]:
    console = printing.console(stderr=True)
    if wants_json(ctx):
        yield _Nothing()
    elif console.is_terminal:
        bars = Progress(
            TextColumn("{task.description}", style="cyan", markup=False),
            BarColumn(bar_width=24),
            _Amount(),
            _Speed(),
            _Remaining(compact=True),
            console=console,
        )
        with bars:
            yield _Bars(bars)
    else:
        yield _Lines()


class _Amount(DownloadColumn):
    """Nothing while no bytes are known: then the bar only says that something happens."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.completed or task.total else Text()


class _Speed(TransferSpeedColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.completed else Text()


class _Remaining(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text()


class _Nothing:
    def tell(self, what: str, done: int = 0, total: int | None = None) -> None:
        return None


class _Bars:
    """A bar for each thing, one below the other; only the last one moves."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def tell(self, what: str, done: int = 0, total: int | None = None) -> None:
        task = self._tasks.get(what)
        if task is None:
            for earlier in self._tasks.values():
                self._bars.stop_task(earlier)
            task = self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(task, completed=done, total=total)


class _Lines:
    """A line when a thing begins, one now and then, and one when all its bytes are there."""

    def __init__(self) -> None:
        self._what = ""
        self._last = ""
        self._next = 0.0

    def tell(self, what: str, done: int = 0, total: int | None = None) -> None:
        now = time.monotonic()
        whole = total is not None and done >= total
        if what == self._what and now < self._next and not whole:
            return
        amount = printing.size(done) if done else ""
        if total:
            amount = f"{printing.size(done)} of {printing.size(total)}"
        line = f"{what} {amount}".rstrip()
        self._what, self._next = what, now + _LINE_EVERY_S
        if line != self._last:
            self._last = line
            click.echo(line, err=True)
