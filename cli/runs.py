"""`modelyard runs`: lists trainings, shows, watches, pauses, resumes, cancels and purges them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from ..client import Client, ClientError, NotFound, Run
from . import printing, run_control
from .connection import client_of, dataset_told
from .follow import follow
from .server_options import connection_options, wants_json
from .train import tell_end

_HEX = re.compile(r"[0-9a-f]{6,32}\Z")
_LISTED = 20


@click.command()
@click.argument("which", nargs=-1, metavar="[MODEL | MODEL/ID | ID] ...")
@click.option("--log", is_flag=True, help="Show the log; with --follow, as it grows.")
@click.option("--tail", type=click.IntRange(min=0), help="With --log: the last lines only.")
@click.option("--follow", "watched", is_flag=True, help="Watch until the run has ended.")
@click.option("--cancel", is_flag=True, help="Cancel; the record stays.")
@click.option("--purge", is_flag=True, help="Remove ended ones for good; their weights stay.")
@click.option(
    "--keep", type=click.IntRange(min=0), help="With --purge of a MODEL: so many newest stay."
)
@click.option("--pause", is_flag=True, help="Save a checkpoint and stop; it can be resumed.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --resume: a secret argument of a run that has ended (@FILE: from a file); "
    "repeatable. On a terminal what is missing is asked for.",
)
@click.option("--limit", type=click.IntRange(min=1), default=_LISTED, show_default=True)
@click.option(
    "--status",
    type=click.Choice(["running", "done", "error", "cancelled"]),
    help="List these only.",
)
@connection_options
@click.pass_context
def runs(
    ctx: click.Context,
    which: tuple[str, ...],
    log: bool,
    tail: int | None,
    watched: bool,
    cancel: bool,
    purge: bool,
    keep: int | None,
    pause: bool,
    resume: bool,
    secrets: tuple[str, ...],
    limit: int,
    status: str | None,
) -> None:
    """List the newest trainings, or show those that are named.

    An ID may be shortened to its first six characters or more.
    """
    client = client_of(ctx)
    names = [model.name for model in client.models()]
    chosen = [find(client, names, text) for text in which if text not in names]
    models = [name for name in which if name in names] or ([] if chosen else names)
    if (log or watched or cancel or pause or resume) and not chosen:
        raise click.UsageError("Name a run: MODEL/ID.", ctx)
    if cancel + purge + pause + resume > 1:
        raise click.UsageError("Give one of --cancel, --purge, --pause and --resume.", ctx)
    if purge:
        run_control.purge(ctx, client, which, chosen, models, keep)
        return
    if cancel:
        _cancel(ctx, client, chosen)
    elif pause:
        run_control.pause(ctx, client, chosen)
    elif resume:
        run_control.resume(ctx, client, chosen, run_control.given(ctx, secrets), watched)
    elif watched and not (log and tail is not None):
        for run in chosen:
            last = follow(client, run.model, run.id, log=log, as_json=wants_json(ctx))
            tell_end(last, wants_json(ctx))
    elif log:
        _log(client, chosen, tail, watched)
    elif chosen:
        _show(ctx, client, chosen)
    if models:
        _list(ctx, client, models, limit, status)


def find(client: Client, models: Sequence[str], text: str) -> Run:
    """The run that `MODEL/ID`, an id, or the beginning of one names. Raises ClientError."""
    model, _, run_id = text.rpartition("/")
    if len(run_id) == 32 and model:
        return client.run(model, run_id)
    if not _HEX.match(run_id):
        known = ", ".join(models) or "none"
        raise ClientError(f"{text!r} is neither a model nor a run. Models: {known}.")
    if model and model not in models:
        raise ClientError(f"There is no model {model!r}. Models: {', '.join(models) or 'none'}.")
    found = [
        run
        for name in ([model] if model else models)
        for run in _candidates(client, name, run_id)
        if run.id.startswith(run_id)
    ]
    if len(found) == 1:
        return found[0]
    raise ClientError(f"There is {'more than one' if found else 'no'} run {text}.")


def _candidates(client: Client, model: str, run_id: str) -> list[Run]:
    if len(run_id) < 32:
        return client.runs(model)
    try:
        return [client.run(model, run_id)]
    except NotFound:
        return []


def _cancel(ctx: click.Context, client: Client, chosen: Sequence[Run]) -> None:
    for run in chosen:
        after = client.cancel(run.model, run.id)
        if wants_json(ctx):
            printing.print_json(after.data)
        elif run.ended:
            click.echo(f"{run.model}/{run.id} had ended before: {printing.state_of(after)}")
        else:
            click.echo(f"{run.model}/{run.id} {after.status}")


def _log(client: Client, chosen: Sequence[Run], tail: int | None, watched: bool) -> None:
    for run in chosen:
        if watched:
            for line in client.follow_log(run.model, run.id, tail=tail):
                click.echo(line)
        else:
            click.echo(client.log(run.model, run.id, tail=tail), nl=False)


def _show(ctx: click.Context, client: Client, chosen: Sequence[Run]) -> None:
    for run in chosen:
        if wants_json(ctx):
            printing.print_json(run.data)
            continue
        rows = [
            ("run", f"{run.model}/{run.id}"),
            ("state", printing.state_of(run)),
            ("progress", printing.amount(run)),
            ("created", printing.moment(run.created_at)),
            ("duration", printing.duration(run)),
            ("weights", run.weights),
            ("dataset", dataset_told(client, run.dataset)),
            ("resumed from", run.resumed_from),
            ("repeats", run.repeats),
            ("message", run.message),
            *((f"--{name}", value) for name, value in run.args.items()),
        ]
        printing.print_table(("", ""), [row for row in rows if row[1] not in (None, "")], "")


def _list(
    ctx: click.Context, client: Client, models: Sequence[str], limit: int, status: str | None
) -> None:
    found = [run for model in models for run in client.runs(model, limit=limit, status=status)]
    found.sort(key=lambda run: run.created_at.timestamp() if run.created_at else 0.0, reverse=True)
    if wants_json(ctx):
        printing.print_json([{**run.data, "model": run.model} for run in found[:limit]])
        return
    printing.print_table(
        ("run", "model", "state", "progress", "created", "duration"),
        [
            (
                run.id[:12],
                run.model,
                printing.state_of(run),
                printing.amount(run),
                printing.moment(run.created_at),
                printing.duration(run),
            )
            for run in found[:limit]
        ],
        "No runs.",
    )
