"""`modelyard models`: what a server serves, and with which arguments."""

from __future__ import annotations

import click

from ..client import Argument, Model
from . import printing
from .connection import client_of, described
from .options import bounds_of
from .server_options import connection_options, wants_json


@click.command()
@click.argument("model", required=False)
@connection_options
@click.pass_context
def models(ctx: click.Context, model: str | None) -> None:
    """List the models of a server, or describe MODEL with its arguments."""
    client = client_of(ctx)
    if model is None:
        found = client.models()
        if wants_json(ctx):
            printing.print_json([item.data for item in found])
            return
        printing.print_table(
            ("model", "state", "weights", ""),
            [
                (item.name, item.state, (item.weights or "")[:12], item.error or item.summary)
                for item in found
            ],
            "The server has no models.",
        )
        return
    if wants_json(ctx):
        printing.print_json(client.model(model).data)
    else:
        _describe(described(client, model))


def _describe(model: Model) -> None:
    description = model.description
    assert description is not None
    distribution = " ".join(
        filter(None, (description.distribution, description.distribution_version))
    )
    rows = [
        ("model", model.name),
        ("state", model.state),
        ("error", model.error),
        ("weights", model.weights),
        ("installed by", distribution),
        ("summary", model.summary),
        ("answers", ", ".join(description.content_types)),
    ]
    printing.print_table(("", ""), [row for row in rows if row[1]], "")
    _arguments("train", description.train_arguments)
    _arguments("predict", description.predict_arguments)


def _arguments(which: str, arguments: tuple[Argument, ...] | None) -> None:
    if arguments is None:
        click.echo(f"\n{which}: not possible")
        return
    click.echo(f"\n{which}")
    printing.print_table(
        ("argument", "kind", "range", "default", ""),
        [
            (
                argument.name,
                f"list of {argument.items.kind}s" if argument.items else argument.kind,
                _range(argument),
                _default(argument),
                " ".join(argument.description.split()),
            )
            for argument in arguments
        ],
        "no arguments",
    )


def _range(argument: Argument) -> str:
    if argument.choices is not None:
        shown = [str(choice) for choice in argument.choices[:12]]
        return ", ".join(shown) + (", ..." if len(argument.choices) > 12 else "")
    return bounds_of(argument)


def _default(argument: Argument) -> str:
    if argument.required:
        return "required"
    if not argument.has_default or argument.default is None:
        return ""
    text = str(argument.default)
    return text.lower() if isinstance(argument.default, bool) else text
