"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

import click


def ask(ctx: click.Context, question: str) -> None:
    """Goes on if a person agrees; where nobody can be asked, --yes is needed."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: add --yes.", ctx)
    click.confirm(question, abort=True, err=True)
