"""`modelyard serve`: starts a server; its options are made of the settings' schema."""

from __future__ import annotations

import os
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
from marshmallow import fields as ma
from marshmallow import validate

from ..api.server import serve as run_server
from ..errors import InvalidSettings
from ..settings import ENV_PREFIX, Settings, SettingsSchema, load_settings


def _options() -> list[click.Parameter]:
    defaults = {item.name: item.default for item in fields(Settings)}
    schema = SettingsSchema()
    options: list[click.Parameter] = [
        _option(name, declared, defaults.get(name))
        for name, declared in schema.fields.items()
        if declared.metadata.get("flag", True)
    ]
    options.append(
        click.Option(
            ["config_file", "--config-file"],
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            multiple=True,
            metavar="PATH",
            help="TOML file with these settings; variables and flags win over it.",
        )
    )
    return options


def _option(name: str, declared: ma.Field, default: Any) -> click.Option:
    spelled = "--" + name.replace("_", "-")
    spellings = [spelled, *declared.metadata.get("aliases", ())]
    text = str(declared.metadata.get("description", "")).strip()
    text = text[:1].upper() + text[1:]
    if default not in (None, MISSING, "", ()):
        shown = str(default).lower() if isinstance(default, bool) else default
        text += f"  [default: {shown}]"
    if isinstance(declared, ma.Boolean):
        spellings[0] += f"/--no-{spelled[2:]}"
        return click.Option([name, *spellings], default=None, help=text)
    return click.Option(
        [name, *spellings],
        metavar=_metavar(declared),
        multiple=isinstance(declared, ma.List),
        help=text,
    )


def _metavar(declared: ma.Field) -> str:
    for rule in declared.validators:
        if isinstance(rule, validate.OneOf):
            return "[" + "|".join(str(choice) for choice in rule.choices) + "]"
    if isinstance(declared, ma.Integer):
        return "INTEGER"
    return "SECONDS" if isinstance(declared, ma.Float) else "TEXT"


@click.command(
    params=_options(),
    epilog=f"Each option is also a variable: --max-trainings is {ENV_PREFIX}MAX_TRAININGS.",
    context_settings={"max_content_width": 100},
)
@click.pass_context
def serve(ctx: click.Context, config_file: tuple[Path, ...], **flags: Any) -> None:
    """Start a server on this machine, and serve until Ctrl-C or SIGTERM."""
    if sys.platform != "linux":
        raise click.ClickException(
            "The server runs on Linux only. Here the client and the other commands work, "
            "with a server elsewhere: --url."
        )
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        settings = load_settings(given, os.environ, config_file)
    except InvalidSettings as error:
        click.echo(f"modelyard: {error.message}", err=True)
        ctx.exit(error.exit_code)
    ctx.exit(run_server(settings))
