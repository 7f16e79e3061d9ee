"""`modelyard plugin check`: what of a plugin would not work, in plain words, before it is served.

The plugin is imported in a process of its own, which may crash or hang: that is a finding too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..models_plugin.checking import process
from ..models_plugin.checking.findings import FAULT, LEVELS, NOTE, Finding
from ..models_plugin.entry_points import installed_sources
from ..models_plugin.environment import plugin_environment
from ..models_plugin.interpreter import ASK_LIMIT_S, Interpreter, Unusable, command
from ..models_plugin.overheard import overhear
from ..models_plugin.plugin import DEEPAAS_GROUP, MODEL_NAME, NATIVE_GROUP, PluginSource
from .requirements import check_requirements
from .stand_in import stand_in

_GROUPS = {"deepaas": DEEPAAS_GROUP, "native": NATIVE_GROUP}
_CONTRACTS = {DEEPAAS_GROUP: "DEEPaaS module", NATIVE_GROUP: "model of the native contract"}
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.]*)?\Z")
_LINES_SHOWN, _SHOWN, _KEPT = 8, 2000, 20_000  # lines and characters; bytes


@dataclass
class Outcome:
    """What a check came to."""

    source: PluginSource
    findings: list[Finding] = field(default_factory=list)

    @property
    def servable(self) -> bool:
        return not any(finding.level == FAULT for finding in self.findings)


@click.group()
def plugin() -> None:
    """Look at a plugin, without a server; stand in for DEEPaaS towards pip."""


plugin.add_command(stand_in)


@plugin.command()
@click.argument("entrypoint")
@click.option("--group", type=click.Choice(sorted(_GROUPS)), help="Its contract, if not guessed.")
@click.option("--python", metavar="PATH", help="Interpreter of the model's own environment.")
@click.option(
    "--timeout", default=120.0, show_default=True, help="Seconds until it counts as hung."
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
        offered = Interpreter(python).sources(min(limit_s, ASK_LIMIT_S))
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


def check_source(source: PluginSource, limit_s: float) -> Outcome:
    """Checks it in a process of its own, which is ended after `limit_s` at the latest."""
    with tempfile.TemporaryDirectory(prefix="modelyard-check-") as scratch:
        report = Path(scratch, "report")
        order = {
            "source": source.to_data(),
            "report": str(report),
            "folder": str(Path.cwd()) if source.distribution is None else None,
        }
        words = [*command(source.python, process.__name__), json.dumps(order)]
        last = bytearray()

        def keep(_: object, piece: bytes) -> None:
            last.extend(piece)
            del last[:-_KEPT]

        with subprocess.Popen(
            words,
            env=plugin_environment(source, {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            try:
                code = overhear(child, limit_s, keep)
            finally:
                _end(child)
        return _outcome(source, _lines(report), code, limit_s, _last_lines(last))


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # its children too
    child.wait()


def _lines(report: Path) -> list[dict[str, Any]]:
    try:
        text = report.read_text("utf-8")
    except FileNotFoundError:
        return []
    # Without what stands behind the last newline: the process may have been ended while it wrote.
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _last_lines(output: bytes | bytearray) -> str:
    text = output.decode("utf-8", "replace")
    return "\n".join(text.strip().splitlines()[-_LINES_SHOWN:])[-_SHOWN:]


def _outcome(
    source: PluginSource,
    lines: Sequence[dict[str, Any]],
    code: int | None,
    limit_s: float,
    last: str,
) -> Outcome:
    group, doing, ended = source.group, "starting", False
    findings = []
    for line in lines:
        group = line.get("group", group)
        doing = line.get("doing", doing)
        ended = ended or "end" in line
        if "finding" in line:
            findings.append(Finding(**line["finding"]))
    if not ended:
        findings.append(_broken_off(doing, code, limit_s, last))
    named = PluginSource(**{**source.to_data(), "group": group})
    findings.sort(key=lambda finding: list(LEVELS).index(finding.level))
    return Outcome(named, findings)


def _broken_off(doing: str, code: int | None, limit_s: float, last: str) -> Finding:
    if code is None:
        what = f"It was still {doing} after {limit_s:g} s."
        remedy = "See what it waits for (a download, an input, a lock), or give it --timeout."
    elif code < 0:
        what = f"It crashed while {doing}: {signal.Signals(-code).name}."
        remedy = "Often two libraries that do not fit: see its last lines, and their releases."
    else:
        what = f"It ended its process while {doing} (exit code {code})."
        remedy = "Let a module never end its process: that ends the worker it runs in."
    if last:
        what += f" Its last lines:\n{last}"
    return Finding(FAULT, "broken-off", what, "", remedy)


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
    name = source.name if source.name == source.value else f"{source.name} ({source.value})"
    click.echo(", ".join(filter(None, [name, about])))
    for finding in outcome.findings:
        click.echo(f"\n{LEVELS[finding.level]}: {finding.what}")
        if finding.where:
            click.echo(f"  where:  {finding.where}")
        if finding.remedy:
            click.echo(f"  remedy: {finding.remedy}")
    faults = sum(finding.level == FAULT for finding in outcome.findings)
    if faults:
        click.echo(f"\nIt cannot be served as it is: {faults} to mend.")
    else:
        click.echo("\nNothing prevents serving it.")
