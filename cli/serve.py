"""`modelyard serve`: starts a server; its options are made of the settings' schema."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
from marshmallow import fields as ma
from marshmallow import validate

from ..api.server import serve as run_server
from ..errors import InvalidSettings
from ..settings import ENV_PREFIX, Settings, SettingsSchema, load_settings
from ..settings.numbers import Size


def setting_options(defaults: Mapping[str, Any] | None = None) -> list[click.Parameter]:
    """An option for each setting, and those that name files; `defaults` are shown in the help."""
    shown = {**{item.name: item.default for item in fields(Settings)}, **(defaults or {})}
    schema = SettingsSchema()
    options: list[click.Parameter] = [
        _option(name, declared, shown.get(name))
        for name, declared in schema.fields.items()
        if declared.metadata.get("flag", True)
    ]
    options.append(
        click.Option(
            ["config_file", "--config-file"],
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            multiple=True,
            metavar="PATH",
            help="File with these settings, TOML or DEEPaaS's ini; variables and flags win over "
            "it. May be repeated.",
        )
    )
    options.append(
        click.Option(
            ["config_dir", "--config-dir"],
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            multiple=True,
            metavar="DIR",
            help="Folder whose *.conf and *.toml files are read too, by name, after --config-file.",
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
        # Both negations: ours, and that of oslo.config, which DEEPaaS's guides and images use.
        spellings[0] += f"/--no-{spelled[2:]}"
        spellings.append(f" /--no{spelled[2:]}")
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
    if isinstance(declared, Size):
        return "SIZE"
    if isinstance(declared, ma.Integer):
        return "INTEGER"
    return "SECONDS" if isinstance(declared, ma.Float) else "TEXT"


def given_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were on the command line."""
    return {name: value for name, value in flags.items() if value not in (None, ())}


def refuse_other_platforms() -> None:
    """Says what works where the server does not. Raises ClickException."""
    if sys.platform != "linux":
        raise click.ClickException(
            "The server runs on Linux only. Here the client and the other commands work, "
            "with a server elsewhere: --url."
        )


@click.command(
    params=setting_options(),
    epilog=f"Each option is also a variable: --max-trainings is {ENV_PREFIX}MAX_TRAININGS.",
    context_settings={"max_content_width": 100},
)
@click.pass_context
def serve(
    ctx: click.Context, config_file: tuple[Path, ...], config_dir: tuple[Path, ...], **flags: Any
) -> None:
    """Start a server on this machine, and serve until Ctrl-C or SIGTERM."""
    refuse_other_platforms()
    try:
        settings = load_settings(
            given_flags(flags), config_files=config_file, config_dirs=config_dir
        )
    except InvalidSettings as error:
        click.echo(f"modelyard: {error.message}", err=True)
        ctx.exit(error.exit_code)
    ctx.exit(run_server(settings))
