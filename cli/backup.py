"""`modelyard backup`: a copy of a home, also while its server runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ..errors import CannotStart, ModelyardError
from ..records.home import Home
from ..settings import load_settings
from ..training.backup import make_backup
from .printing import print_json
from .server_options import json_option, wants_json


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--home", metavar="DIR", help="The server's home (also MODELYARD_HOME).")
@json_option
@click.pass_context
def backup(ctx: click.Context, target: Path, home: str | None) -> None:
    """Copy a server's home to the new folder TARGET, also while the server runs.

    The copy is a home itself: start a server on it, or on a copy of it. Trainings that were under
    way are paused there. Exit code 1 with a copy that was made: the home itself lacks something,
    or has versions or datasets that are corrupt.
    """
    try:
        place = Home(load_settings({} if home is None else {"home": home}).home)
    except CannotStart as error:
        raise click.UsageError(error.message) from error
    try:
        made = make_backup(place, target)
    except ModelyardError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        where = error.filename2 or error.filename or target
        raise click.ClickException(f"{where}: {error.strerror}. Nothing was kept.") from error
    if wants_json(ctx):
        print_json(asdict(made))
    else:
        click.echo(
            f"{target}: {made.runs} runs ({made.paused} under way, paused there), {made.weights} "
            f"weights versions, {made.datasets} datasets, {made.size} bytes."
        )
    if made.missing:
        click.echo(
            "modelyard: all that is there was copied, but the home itself has no folder for what "
            f"its records name: {', '.join(made.missing)}. Put them back from another backup, or "
            "remove the runs (modelyard runs MODEL/ID --purge), weights and datasets.",
            err=True,
        )
    if made.corrupt:
        told = ", ".join(f"{name} ({what})" for name, what in made.corrupt.items())
        click.echo(
            f"modelyard: corrupt in the home itself, and copied as they are: {told}. Mend them: "
            "modelyard doctor --repair brings anew what the shared store has; import the archive "
            "of a version again, or put it back from another backup.",
            err=True,
        )
    if made.missing or made.corrupt:
        ctx.exit(1)
