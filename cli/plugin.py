"""`modelyard plugin check`: what of a plugin would not work, in plain words, before it is served.

The plugin is imported in a process of its own, which may crash or hang: that is a finding too.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from ..models_plugin.checking.findings import FAULT, LEVELS, NOTE, Finding
from ..models_plugin.entry_points import installed_sources
from ..models_plugin.interpreter import ASK_LIMIT_S, Interpreter, Unusable
from ..models_plugin.plugin import DEEPAAS_GROUP, MODEL_NAME, NATIVE_GROUP, PluginSource
from .checking import Outcome, check_source, name_of, nothing_left, readable
from .numbers import Seconds
from .requirements import check_requirements
from .stand_in import stand_in

_GROUPS = {"deepaas": DEEPAAS_GROUP, "native": NATIVE_GROUP}
_CONTRACTS = {DEEPAAS_GROUP: "DEEPaaS module", NATIVE_GROUP: "model of the native contract"}
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.]*)?\Z")


@click.group()
def plugin() -> None:
    """Look at a plugin, without a server; stand in for DEEPaaS towards pip."""


plugin.add_command(stand_in)


@plugin.command()
@click.argument("entrypoint")
@click.option("--group", type=click.Choice(sorted(_GROUPS)), help="Its contract, if not guessed.")
@click.option("--python", metavar="PATH", help="Interpreter of the model's own environment.")
@click.option(
    "--timeout",
    type=Seconds(),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds until it counts as hung.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def check(
    ctx: click.Context,
    entrypoint: str,
    group: str | None,
    python: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Tell what of a plugin would not work, and what to do about it.

    ENTRYPOINT is the name of an installed model, or package.module[:attribute].

    Exits with 0 if nothing prevents serving it, with 1 otherwise.
    """
    try:
        source = find_source(entrypoint, _GROUPS.get(group or "", ""), python, timeout)
    except Unusable as error:
        fault = Finding(FAULT, "interpreter", str(error))
        outcome = Outcome(PluginSource(entrypoint, entrypoint, group or ""), [fault])
    else:
        outcome = check_source(source, timeout)
        unmet = check_requirements(source)
        if unmet is not None:
            outcome.findings.append(unmet)
            outcome.findings.sort(key=lambda finding: list(LEVELS).index(finding.level))
        if source.distribution is None and source.problem is None:
            outcome.findings.append(_undeclared(source, outcome.source.group))
    if as_json:
        click.echo(json.dumps(_as_data(outcome), indent=2))
    else:
        _tell(outcome)
    ctx.exit(0 if outcome.servable else 1)


def find_source(
    entrypoint: str, group: str, python: str | None, limit_s: float = ASK_LIMIT_S
) -> PluginSource:
    """The plugin that is meant. Raises click.UsageError, and Unusable for an interpreter."""
    if python is None:
        offered = installed_sources()
    else:
        with nothing_left() as mark:
            offered = Interpreter(python, mark).sources(min(limit_s, ASK_LIMIT_S))
        python = Interpreter(python).executable()
    if entrypoint in offered:
        return offered[entrypoint]
    for source in offered.values():
        if source.value == entrypoint and group in ("", source.group):
            return source
    if not _PATH.match(entrypoint) or not (_dotted(entrypoint) or _is_module(entrypoint, python)):
        names = ", ".join(sorted(offered)) or "none"
        raise click.UsageError(
            f"There is no model and no module {entrypoint!r}. Installed models: {names}. "
            "A module is written package.module or package.module:attribute."
        )
    return PluginSource(entrypoint, entrypoint, group, python=python)


def _dotted(entrypoint: str) -> bool:
    return "." in entrypoint or ":" in entrypoint


def _is_module(name: str, python: str | None) -> bool:
    here = Path.cwd() / name
    found_here = here.with_suffix(".py").exists() or (here / "__init__.py").exists()
    return found_here or (python is None and importlib.util.find_spec(name) is not None)


def _undeclared(source: PluginSource, group: str) -> Finding:
    name = source.value.partition(".")[0].replace("_", "-")
    name = name if MODEL_NAME.match(name) else "my-model"
    return Finding(
        NOTE,
        "no-entry-point",
        "No installed package has an entry point for it, so no server would find it.",
        source.value,
        f'In pyproject.toml: [project.entry-points."{group}"] with {name} = "{source.value}"; '
        "then pip install -e .",
    )


def _as_data(outcome: Outcome) -> dict[str, Any]:
    source = outcome.source
    return {
        "name": source.name,
        "value": source.value,
        "group": source.group,
        "python": source.python or sys.executable,
        "servable": outcome.servable,
        "findings": [finding.to_data() for finding in outcome.findings],
    }


def _tell(outcome: Outcome) -> None:
    source = outcome.source
    about = _CONTRACTS.get(source.group, "")
    name = name_of(source)
    name = name if source.name == source.value else f"{name} ({source.value})"
    click.echo(readable(", ".join(filter(None, [name, about]))))
    for finding in outcome.findings:
        click.echo(readable(f"\n{LEVELS[finding.level]}: {finding.what}"))
        if finding.where:
            click.echo(readable(f"  where:  {finding.where}"))
        if finding.remedy:
            click.echo(readable(f"  remedy: {finding.remedy}"))
    faults = sum(finding.level == FAULT for finding in outcome.findings)
    if faults:
        click.echo(f"\nIt cannot be served as it is: {faults} to mend.")
    else:
        click.echo("\nNothing prevents serving it.")
