"""`modelyard doctor`: whether a home and its store are well, and what would mend them."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict

import click

from ..errors import CannotStart, HomeInUse, ModelyardError
from ..models_plugin.checking.findings import FAULT
from ..models_plugin.discovery import list_sources
from ..models_plugin.interpreter import Interpreter
from ..records.home import Home
from ..settings import Settings, load_settings
from ..settings.checks import unused_variables
from ..settings.machine import exposed_files, faults_of_the_machine
from ..storage.checkup import Finding, check_home, check_store, repair_home, shut_home, told_of
from ..storage.office import StorageOffice
from ..training.checkup import (
    check_caches,
    check_leftovers,
    check_machine,
    check_runs,
    check_tensorboard,
    sweep,
)
from .checking import check_source, name_of, nothing_left, readable
from .printing import print_json
from .server_options import json_option, wants_json
from .temporary import temporary_folder

_FAULTS_SHOWN = 10  # of a model


@click.command()
@click.option("--home", metavar="DIR", help="The server's home (also MODELYARD_HOME).")
@click.option("--storage", metavar="URL", help="Its shared store (also MODELYARD_STORAGE).")
@click.option(
    "--repair",
    is_flag=True,
    help="Remove what is left over, here and in the store (older than a day), and bring anew what "
    "is broken in the home and whole in the store; in the home while no server uses it. Shut a "
    "home that others may enter.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Leave out what takes its time: importing models, TensorBoard, and reading all files of "
    "versions and datasets to compare them with their digests (their sizes are looked at).",
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context, home: str | None, storage: str | None, repair: bool, quick: bool
) -> None:
    """Say whether the home of a server, its shared store, the installed models, TensorBoard and
    this machine are well, with a remedy for each fault.

    Works on this machine, beside a running server, too. Exit code 1 if something was found, or if
    there is no home at --home.
    """
    given = {
        name: value for name, value in (("home", home), ("storage", storage)) if value is not None
    }
    try:
        settings = load_settings(given)
    except CannotStart as error:
        raise click.UsageError(error.message) from error
    place, shared = Home(settings.home), settings.storage is not None
    is_home = place.format_file.exists() and place.database.exists()
    done: list[Finding] = []
    about_store: list[Finding] = []
    if repair and place.format_file.exists():
        done += shut_home(place)
    if repair and is_home and any(one.remedy for one in check_leftovers(place)):
        done.append(_swept(place))
    if settings.storage is not None:
        mended, about_store = asyncio.run(
            _ask_store(settings.storage, place, repair, every_byte=not quick)
        )
        done += mended
    looked = check_home(place, shared, named=bool(home), every_byte=not quick)
    found = [*done, *_check_settings(settings), *looked]
    if is_home:
        found += [*check_runs(place), *check_leftovers(place)]
        found.append(check_caches(place, settings.model_cache))
    found += [*about_store, *check_machine(place)]
    if not quick:
        with temporary_folder() as folder:  # not in the home: a socket's path is to be short
            found.append(check_tensorboard(folder))
        found += _models(settings, place)
    well = all(one.remedy is None for one in found)
    if wants_json(ctx):
        print_json({"well": well, "findings": [asdict(one) for one in found]})
    else:
        _print(found)
    ctx.exit(0 if well else 1)


def _check_settings(settings: Settings) -> Iterator[Finding]:
    """What a server with these settings would refuse on this machine, or warn of. Which belong
    together is left out: flags of the server's are not seen here."""
    for name, fault in faults_of_the_machine(settings, os.environ):
        yield Finding("settings", f"{name}: {fault}", "No server starts with it: mend it.")
    for told in (*unused_variables(os.environ), *exposed_files(settings)):
        yield Finding("settings", f"{told[:1].upper()}{told[1:]}.", "Mend it, or take it out.")


def _swept(home: Home) -> Finding:
    try:
        return sweep(home)
    except HomeInUse as error:
        return Finding("home", f"Nothing removed: {error.message}", "Stop that server first.")
    except ModelyardError as error:
        return Finding("home", f"Nothing removed: {error.message}", "Do what it says.")


def _models(settings: Settings, home: Home) -> Iterator[Finding]:
    """Each model that a server with these settings would serve, imported in its own process."""
    try:
        with nothing_left() as mark:
            interpreters = {
                name: Interpreter(own.python, {**own.env, **mark})
                for name, own in settings.models.items()
                if own.python is not None
            }
            sources = list_sources(settings.model_name, interpreters)
    except ModelyardError as error:
        yield Finding("model", error.message, "Install it, or name another one.")
        return
    if not sources:
        yield Finding("model", "No model is installed.")
    for source in sources:
        outcome = check_source(source, settings.load_timeout, home)
        faults = [finding for finding in outcome.findings if finding.level == FAULT]
        if not faults:
            yield Finding("model", f"{name_of(source)}: can be imported.")
        more = f"modelyard plugin check {shlex.quote(source.name)} tells more."
        for fault in faults[:_FAULTS_SHOWN]:
            yield Finding("model", f"{name_of(source)}: {fault.what}", fault.remedy or more)
        if (left := len(faults) - _FAULTS_SHOWN) > 0:
            yield Finding("model", f"{name_of(source)}: {left} faults more.", more)


async def _ask_store(
    url: str, home: Home, repair: bool, every_byte: bool
) -> tuple[list[Finding], list[Finding]]:
    """What was repaired, or could not be; and how the store is."""
    is_home = home.format_file.exists()
    with temporary_folder() as elsewhere:
        # Nothing is written into a folder that is none of ours, or is to become a home.
        place = home if is_home else Home(elsewhere)
        office = StorageOffice(url, place, os.environ, elsewhere / "storage.log")
        try:
            whose = home if is_home else None
            done = await _repair(office, whose, every_byte) if repair else []
            return done, await check_store(office)
        finally:
            await office.close()


async def _repair(office: StorageOffice, home: Home | None, every_byte: bool) -> list[Finding]:
    done = []
    try:
        report = await office.repair(dry=False)
        done.append(Finding("store", f"Removed: {told_of(report)}."))
        if home is not None:
            done += await repair_home(home, office, every_byte)
    except HomeInUse as error:
        done.append(Finding("home", f"Not repaired: {error.message}", "Stop that server first."))
    except ModelyardError as error:
        done.append(Finding("store", f"Not repaired: {error.message}", "See below."))
    return done


def _print(found: list[Finding]) -> None:
    for one in found:
        mark = "ok   " if one.remedy is None else "FAULT"
        click.echo(readable(f"{mark} {one.part:5} {one.message}"))
        if one.remedy is not None:
            click.echo(readable(f"            {one.remedy}"))
