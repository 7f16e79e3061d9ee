"""`modelyard weights MODEL`: the versions that predictions can use."""

from __future__ import annotations

import click

from . import printing
from .connection import client_of, connection_options, wants_json


@click.command()
@click.argument("model")
@connection_options
@click.pass_context
def weights(ctx: click.Context, model: str) -> None:
    """List the weights versions of MODEL, newest first."""
    found = client_of(ctx).weights(model)
    if wants_json(ctx):
        printing.print_json(
            [
                {
                    "id": version.id,
                    "model": version.model,
                    "run": version.run,
                    "created_at": version.created_at and version.created_at.isoformat(),
                    "state": version.state,
                    "step": version.step,
                    "metrics": dict(version.metrics),
                    "size": version.size,
                    "aliases": list(version.aliases),
                    "files": [vars(file) for file in version.files],
                }
                for version in found
            ]
        )
        return
    printing.print_table(
        ("weights", "created", "run", "step", "size", "metrics", ""),
        [
            (
                version.id,
                printing.moment(version.created_at),
                (version.run or "")[:12],
                version.step,
                printing.size(version.size),
                printing.metrics(version.metrics),
                ", ".join(version.aliases),
            )
            for version in found
        ],
        f"{model} has no weights yet: train it first.",
    )
