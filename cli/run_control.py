"""`modelyard runs --pause`, `--resume` and `--purge`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ..client import ArgumentsRefused, Client, Run
from . import printing
from .follow import follow
from .server_options import wants_json
from .train import tell_end


def given(ctx: click.Context, words: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` by name; `@FILE` is the file's text without its last line end."""
    secrets = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--secret {word}: write NAME=VALUE or NAME=@FILE.", ctx)
        if value.startswith("@"):
            value = Path(value[1:]).read_text().removesuffix("\n")
        secrets[name] = value
    return secrets


def pause(ctx: click.Context, client: Client, chosen: Sequence[Run]) -> None:
    """Has runs save a checkpoint and end their processes."""
    for run in chosen:
        after = client.pause(run.model, run.id)
        if wants_json(ctx):
            printing.print_json(after.data)
            continue
        how = "is paused." if after.phase == "paused" else "pauses: it saves its state."
        click.echo(f"{run.model}/{run.id} {how}")
        click.echo(f"Go on with it:  modelyard runs {run.model}/{run.id} --resume")


def purge(
    ctx: click.Context,
    client: Client,
    which: Sequence[str],
    chosen: Sequence[Run],
    models: Sequence[str],
    keep: int | None,
) -> None:
    """Removes ended runs: those that are named, or all of named models but the newest `keep`."""
    if not which or (not chosen and keep is None):
        raise click.UsageError("Name runs (MODEL/ID), or a MODEL with --keep N.", ctx)
    gone = list(chosen)
    for model in () if keep is None else models:
        ended = [run for run in reversed(client.runs(model)) if run.phase == "finished"]
        gone += ended[keep:]
    for run in gone:
        client.purge(run.model, run.id)
        if not wants_json(ctx):
            click.echo(f"{run.model}/{run.id} is removed.")
    if wants_json(ctx):
        printing.print_json([run.data for run in gone])
    elif not gone:
        click.echo("There is nothing to remove.")


def resume(
    ctx: click.Context,
    client: Client,
    chosen: Sequence[Run],
    secrets: Mapping[str, str],
    watched: bool,
) -> None:
    """Goes on with runs; of one that has ended a new one is made."""
    as_json = wants_json(ctx)
    for run in chosen:
        after = _resumed(ctx, client, run, secrets)
        if as_json:
            words = {"event": "record", "data": after.data} if watched else after.data
            click.echo(json.dumps(words, ensure_ascii=False))
        elif after.id == run.id:
            click.echo(f"{run.model}/{run.id} goes on: {printing.state_of(after)}")
        else:
            click.echo(f"Run {after.id} of {run.model} goes on where {run.id} ended.")
        if watched:
            last = follow(client, after.model, after.id, log=False, as_json=as_json)
            tell_end(last, as_json)
        elif not as_json:
            click.echo(f"Watch it:  modelyard runs {after.model}/{after.id} --follow")


def _resumed(ctx: click.Context, client: Client, run: Run, secrets: Mapping[str, str]) -> Run:
    try:
        return client.resume(run.model, run.id, secrets)
    except ArgumentsRefused as error:
        missing = [name for name in error.errors if name not in secrets]
        if not missing or not run.ended:
            raise
        if not sys.stdin.isatty():
            words = " ".join(f"--secret {name}=@FILE" for name in missing)
            raise click.UsageError(f"{error.message} Add {words}.", ctx) from error
        asked = {name: click.prompt(name, hide_input=True, err=True) for name in missing}
        return client.resume(run.model, run.id, {**secrets, **asked})
