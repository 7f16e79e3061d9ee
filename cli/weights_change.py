"""`modelyard weights`: names, tags, notes; a version of another checkpoint; and deletion."""

from __future__ import annotations

import math
import sys

import click

from ..client import Alias, Client
from . import printing, runs, versions
from .asking import ask
from .connection import client_of
from .server_options import connection_options, wants_json

PRODUCTION = "production"


@click.group()
@connection_options
def alias() -> None:
    """Names of versions that can be moved. Predictions that name none use `production`."""


@alias.command("list")
@versions.model_argument
@connection_options
@click.pass_context
def list_aliases(ctx: click.Context, model: str) -> None:
    """List the aliases of MODEL."""
    found = client_of(ctx).aliases(model)
    if wants_json(ctx):
        printing.print_json([versions.in_data(one) for one in found])
        return
    printing.print_table(
        ("alias", "version", "moved", "before"),
        [(one.name, one.version, printing.moment(one.moved_at), one.previous) for one in found],
        f"{model} has no aliases yet: set one with `modelyard weights alias set {model} "
        f"{PRODUCTION} VERSION`, or train it.",
    )


@alias.command("set")
@versions.model_argument
@click.argument("name")
@click.argument("version")
@connection_options
@click.pass_context
def set_alias(ctx: click.Context, model: str, name: str, version: str) -> None:
    """Have the alias NAME name a VERSION of MODEL."""
    client = client_of(ctx)
    chosen = versions.find(client, model, version).id
    _tell(ctx, model, client.set_alias(model, name, chosen))


def _share(text: str) -> tuple[str, float]:
    """The version and its weight. Raises BadParameter."""
    version, _, weight = text.rpartition("=")
    try:
        number = float(weight) if version else 1.0
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise click.BadParameter(
            f"{text!r}: the weight is no number above 0.", param_hint="VERSION=WEIGHT"
        )
    return version or weight, number


@alias.command()
@versions.model_argument
@click.argument("name")
@click.argument("shares", metavar="VERSION=WEIGHT...", nargs=-1, required=True)
@click.option("--shadow", metavar="VERSION", help="version that gets copies of the calls")
@click.option(
    "--shadow-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="part of the calls that the shadow gets",
)
@connection_options
@click.pass_context
def divide(
    ctx: click.Context,
    model: str,
    name: str,
    shares: tuple[str, ...],
    shadow: str | None,
    shadow_share: float,
) -> None:
    """Divide the calls that name NAME, or none, between versions of MODEL by weight."""
    asked = [_share(share) for share in shares]
    client = client_of(ctx)
    weights: dict[str, float] = {}
    for version, weight in asked:
        weights[versions.find(client, model, version).id] = weight
    copied = None if shadow is None else versions.find(client, model, shadow).id
    _tell(
        ctx,
        model,
        client.divide_alias(model, name, weights, shadow=copied, shadow_share=shadow_share),
    )


@alias.command()
@versions.model_argument
@click.argument("name")
@connection_options
@click.pass_context
def remove(ctx: click.Context, model: str, name: str) -> None:
    """Have the alias NAME of MODEL name nothing any more."""
    client_of(ctx).remove_alias(model, name)
    if not wants_json(ctx):
        click.echo(f"{name} names no version of {model} any more.")


@click.command()
@versions.model_argument
@click.argument("name", default=PRODUCTION, metavar="[ALIAS]")
@connection_options
@click.pass_context
def rollback(ctx: click.Context, model: str, name: str) -> None:
    """Move an ALIAS of MODEL (`production`) back to the version that it named before."""
    _tell(ctx, model, client_of(ctx).roll_back(model, name))


def _tell(ctx: click.Context, model: str, moved: Alias) -> None:
    if wants_json(ctx):
        printing.print_json(versions.in_data(moved))
        return
    if len(moved.weights) > 1:
        total = sum(moved.weights.values())
        parts = [f"{weight / total:.0%} {one}" for one, weight in moved.weights.items()]
        click.echo(f"{moved.name} of {model} is {', '.join(parts)} now.")
    else:
        click.echo(f"{moved.name} of {model} is {moved.version} now.")
    if moved.shadow is not None:
        click.echo(f"Copies of calls go to {moved.shadow}.")
    if moved.previous:
        click.echo(f"Back to {moved.previous}:  modelyard weights rollback {model} {moved.name}")


@click.command()
@versions.model_argument
@click.argument("version")
@click.argument("tags", nargs=-1, metavar="[TAG] ...")
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag away; repeatable.")
@connection_options
@click.pass_context
def tag(
    ctx: click.Context, model: str, version: str, tags: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    """Give a VERSION of MODEL tags. `modelyard weights list MODEL --tag TAG` finds it by them."""
    if not tags and not remove:
        raise click.UsageError("Give a tag, or --remove one.", ctx)
    client = client_of(ctx)
    now = versions.find(client, model, version)
    kept = [one for one in now.tags if one not in remove]
    wanted = list(dict.fromkeys([*kept, *tags]))
    changed = client.change_weights(model, now.id, tags=wanted)
    if wants_json(ctx):
        printing.print_json(versions.data_of(changed))
    else:
        click.echo(f"{changed.id}: {', '.join(changed.tags) or 'no tags'}")


@click.command()
@versions.model_argument
@click.argument("version")
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the notes.")
@connection_options
@click.pass_context
def notes(ctx: click.Context, model: str, version: str, text: str | None, remove: bool) -> None:
    """Set the notes of a VERSION of MODEL to TEXT (`-`: from standard input), or show them."""
    client = client_of(ctx)
    now = versions.find(client, model, version)
    if text is not None or remove:
        given = sys.stdin.read() if text == "-" else text
        now = client.change_weights(model, now.id, notes=None if remove else given)
    if wants_json(ctx):
        printing.print_json(versions.data_of(now))
    else:
        click.echo(now.notes or f"{now.id} has no notes.")


@click.command()
@click.argument("run", metavar="MODEL/RUN")
@click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which of its checkpoints.",
)
@connection_options
@click.pass_context
def promote(ctx: click.Context, run: str, checkpoint: str) -> None:
    """Make a weights version of a RUN's other checkpoint. `latest` stays where it is."""
    client = client_of(ctx)
    found = runs.find(client, [model.name for model in client.models()], run)
    made = client.promote(found.model, found.id, checkpoint)
    if wants_json(ctx):
        printing.print_json(versions.data_of(made))
        return
    click.echo(f"Weights: {made.id}  {printing.metrics(made.metrics)}".rstrip())
    words = f"{made.model} {PRODUCTION} {made.id}"
    click.echo(f"Predict with it by default:  modelyard weights alias set {words}")


@click.command()
@versions.model_argument
@click.argument("names", nargs=-1, required=True, metavar="VERSION ...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection_options
@click.pass_context
def delete(ctx: click.Context, model: str, names: tuple[str, ...], yes: bool) -> None:
    """Delete VERSIONs of MODEL: here, and in the shared store for all servers."""
    client = client_of(ctx)
    chosen = [versions.find(client, model, name) for name in names]
    for version in chosen:
        if not yes:
            known = ", ".join([*version.aliases, *version.tags])
            ask(ctx, f"Delete {model} {version.id}{f' ({known})' if known else ''}?")
        _delete(ctx, client, model, version.id)


def _delete(ctx: click.Context, client: Client, model: str, version: str) -> None:
    client.delete_weights(model, version)
    if not wants_json(ctx):
        click.echo(f"{version} is deleted.")
