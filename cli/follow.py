"""Watches a run: a live bar on a terminal, plain lines elsewhere, JSON lines for programs.

Watching changes nothing: Ctrl-C ends the watching, the run goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..client import Client, Event, Run
from . import printing

_LINE_EVERY_S = 5.0


class View(Protocol):
    """Shows a run while it is watched."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, run: Run, values: dict[str, float | None]) -> None: ...

    def log(self, text: str) -> None: ...


def follow(client: Client, model: str, run_id: str, *, log: bool, as_json: bool) -> Run:
    """Shows a run until it has ended; returns its final record.

    Ctrl-C says how to come back to the run and how to cancel it, and exits with 130.
    """
    try:
        if as_json:
            return _write_events(client, model, run_id, log)
        return watch(client, model, run_id, log=log)
    except KeyboardInterrupt:
        tell_how_to_go_on(model, run_id)
        raise click.exceptions.Exit(130) from None


def tell_how_to_go_on(model: str, run_id: str) -> None:
    click.echo(
        f"\nThe run goes on. Watch it again:  modelyard runs {model}/{run_id} --follow", err=True
    )
    click.echo(
        f"                 Cancel it:       modelyard runs {model}/{run_id} --cancel", err=True
    )
    click.echo(
        f"                 Pause it:        modelyard runs {model}/{run_id} --pause", err=True
    )


def exit_code(run: Run) -> int:
    """0 for a run that ended well or goes on, 1 for one that did not."""
    return 0 if run.succeeded or not run.ended else 1


def _write_events(client: Client, model: str, run_id: str, log: bool) -> Run:
    for event in client.events(model, run_id, log=log):
        click.echo(json.dumps({"event": event.type, "data": event.data}, ensure_ascii=False))
    return client.run(model, run_id)


def watch(client: Client, model: str, run_id: str, *, log: bool = False) -> Run:
    """Shows a run to a person until it has ended; returns its final record."""
    console = printing.console()
    view: View = _Bar(console) if console.is_terminal else _Lines()
    values: dict[str, float | None] = {}
    with view:
        run = client.run(model, run_id)
        view.show(run, values)
        for event in client.events(model, run_id, log=log):
            if event.type == "log":
                view.log(str(event.data))
                continue
            if event.type == "metrics":
                values.update(_newest(event))
            elif event.type == "record":
                run = Run.from_data(model, event.data)
            view.show(run, values)
        run = client.run(model, run_id)
        view.show(run, values)
    return run


def _newest(event: Event) -> dict[str, Any]:
    """The last value of each metric in one event's points."""
    newest: dict[str, Any] = {}
    for point in event.data if isinstance(event.data, list) else []:
        newest.update(point.get("values") or {})
    return newest


class _Captioned(Progress):
    """A progress bar with a line below it: in one line, not even 120 columns hold both."""

    caption = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.caption:
            yield Text("  " + self.caption, style="bold", no_wrap=True, overflow="ellipsis")


class _Bar:
    """Two live lines: phase, bar, time, amount; and the newest metrics."""

    def __init__(self, console: Console) -> None:
        self._progress = _Captioned(
            TextColumn("{task.description:<10}", style="cyan", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            console=console,
        )
        self._task: TaskID = self._progress.add_task("", total=None, amount="")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, run: Run, values: dict[str, float | None]) -> None:
        total = run.progress.total
        done = total if run.succeeded and total else run.progress.done or 0
        self._progress.caption = printing.metrics(values, printing.amount(run))
        self._progress.update(
            self._task,
            description=run.status if run.ended else run.phase or run.status,
            # Without a total the bar only says that something happens, and of an ended run nothing.
            total=total or (1 if run.ended else None),
            completed=done or (1 if run.succeeded and not total else 0),
            amount=printing.amount(run),
        )

    def log(self, text: str) -> None:
        self._progress.console.print(text, markup=False, end="" if text.endswith("\n") else "\n")


class _Lines:
    """A line for each phase, and now and then one for the progress."""

    def __init__(self) -> None:
        self._phase: str | None = None
        self._last = ""
        self._next = 0.0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, run: Run, values: dict[str, float | None]) -> None:
        phase = run.status if run.ended else run.phase
        amount = printing.amount(run)
        line = "  ".join(filter(None, (phase, amount, printing.metrics(values, amount))))
        now = time.monotonic()
        if line == self._last or (phase == self._phase and now < self._next):
            return
        self._phase, self._last, self._next = phase, line, now + _LINE_EVERY_S
        click.echo(line)

    def log(self, text: str) -> None:
        click.echo(text, nl=not text.endswith("\n"))
