"""`modelyard keys`: makes, lists and ends API keys of the home on this machine."""

from __future__ import annotations

import functools
import os
import pwd
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ..errors import CannotStart, ModelyardError
from ..records.audit import CHANGES, AuditLog
from ..records.home import Home
from ..records.keyring import has_keys, with_keys
from ..records.keys import (
    KeyRecord,
    all_keys,
    forget_keys,
    insert_key_record,
    new_key,
    revoke_keys,
)
from ..schemas.permissions import Permission, in_order
from ..settings import load_settings
from . import printing
from .server_options import json_option, wants_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+ -]{0,99}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LASTING = re.compile(r"(\d{1,6})([mhdwy])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}

_home = click.option("--home", metavar="DIR", help="The server's home (also MODELYARD_HOME).")


@click.group()
def keys() -> None:
    """Make, list and end the keys that callers of a server show.

    Works on the home of a server on this machine, which may run: it takes a change up within two
    seconds. A home with a key, be it an ended one, asks every caller for one.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(one) for one in Permission]),
    help="What it may do; may be repeated.  [default: read and predict]",
)
@click.option("--model", "models", multiple=True, help="For this model alone; may be repeated.")
@click.option("--expires", metavar="TIME", help="After so long: 12h, 30d, 8w, 1y, or a date.")
@_home
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    expires: str | None,
    home: str | None,
) -> None:
    """Make a key for NAME, a person or a program, and print it: it is shown this once.

    Several keys may have one name: they are the same caller. Scopes do not include each other.
    """
    if _NAME.fullmatch(name) is None:
        raise click.UsageError("NAME is letters, digits, spaces and . _ @ + -, at most 100.")
    for model in models:
        if _MODEL.fullmatch(model) is None:
            raise click.UsageError(f"{model!r} is not the name of a model.")
    now = datetime.now(UTC)
    may = [Permission(one) for one in scopes] or [Permission.READ, Permission.PREDICT]
    record, text = new_key(name, may, models or None, now, _until(expires, now))
    place = _place(home)
    _changed(place, "create", lambda connection: insert_key_record(connection, record), [record.id])
    try:
        if wants_json(ctx):
            printing.print_json({**_told(record, now), "key": text})
            return
        click.echo(text)
    except OSError as error:  # nobody has seen it, nor ever will
        ended = functools.partial(revoke_keys, which=record.id, now=now)
        _changed(place, "revoke", ended)
        raise click.ClickException(
            f"The key could not be written to standard output ({error.strerror}), so it was "
            "revoked again. Make another where it can be written."
        ) from error
    click.echo(
        f"Key {record.id} of {name}: {', '.join(in_order(record.scopes))}; "
        f"{_models_of(record)}; {_lasting(record)}. It is not shown again.",
        err=True,
    )


@keys.command("list")
@_home
@json_option
@click.pass_context
def list_keys(ctx: click.Context, home: str | None) -> None:
    """List all keys, also those that were revoked or have expired; never their secrets."""
    place = _place(home, existing=True)
    now = datetime.now(UTC)
    found = _asked(lambda: with_keys(place, all_keys))
    if wants_json(ctx):
        printing.print_json([_told(one, now) for one in found])
        return
    printing.print_table(
        ("key", "name", "state", "scopes", "models", "made", "expires", "last used"),
        [
            (
                *(one.id, one.name, one.state(now), " ".join(in_order(one.scopes))),
                *("all" if one.models is None else " ".join(sorted(one.models)),),
                *(_day(one.created_at), _day(one.expires_at), _day(one.used_at)),
            )
            for one in found
        ],
        "This home has no keys.",
    )


@keys.command()
@click.argument("which", metavar="KEY|NAME")
@_home
@click.pass_context
def revoke(ctx: click.Context, which: str, home: str | None) -> None:
    """End a key, by its id, or all keys of a name. Those who show it are refused from then on."""
    place = _place(home, existing=True)
    now = datetime.now(UTC)
    ended = _changed(place, "revoke", lambda connection: revoke_keys(connection, which, now))
    if not ended:
        click.echo(f"modelyard: there is no key {which!r} that could be revoked.", err=True)
        ctx.exit(1)
    for one in ended:
        click.echo(f"Revoked {one}.")


@keys.command()
@_home
def forget(home: str | None) -> None:
    """Remove what is recorded of revoked and expired keys.

    Without any key left, a server on loopback lets every user of the machine in again.
    """
    place = _place(home, existing=True)
    now = datetime.now(UTC)
    gone = _changed(place, "forget", lambda connection: forget_keys(connection, now))
    click.echo(f"Forgot {len(gone)} key(s).")
    if gone and not _asked(lambda: has_keys(place.database)):
        click.echo("This home has no keys now: a server on loopback asks for none.", err=True)


def _place(home: str | None, existing: bool = False) -> Home:
    try:
        place = Home(load_settings({} if home is None else {"home": home}).home)
    except CannotStart as error:
        raise click.UsageError(error.message) from error
    if existing and not place.format_file.exists():
        raise click.UsageError(f"{place.root}: is no home of a server. Name it with --home.")
    return place


def _changed(home: Home, action: str, work: Any, ids: list[str] | None = None) -> Any:
    """What `work` returns, or `ids`; written into the audit log before it is told."""
    done = _asked(lambda: with_keys(home, work))
    told = done if ids is None else ids
    if told:
        account = pwd.getpwuid(os.getuid()).pw_name if _has_name() else str(os.getuid())
        try:
            AuditLog(home.audit).write(
                CHANGES, principal=f"user:{account}", action=f"keys {action}", keys=told
            )
        except OSError as error:
            click.echo(f"modelyard: the audit log cannot be written: {error}", err=True)
    return told


def _has_name() -> bool:
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # a container's user by number
        return False


def _asked(work: Any) -> Any:
    try:
        return work()
    except ModelyardError as error:
        raise click.ClickException(error.message) from error


def _until(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    match = _LASTING.fullmatch(text)
    try:
        if match is not None:
            until = now + timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        else:
            until = datetime.fromisoformat(text)
            until = until if until.tzinfo else until.astimezone()
    except (ValueError, OverflowError) as error:
        raise click.UsageError(
            "--expires is a time such as 12h, 30d, 8w, 1y, or a date."
        ) from error
    if until <= now:
        raise click.UsageError(f"--expires {text} has passed.")
    return until


def _told(one: KeyRecord, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state(now),
        "scopes": in_order(one.scopes),
        "models": None if one.models is None else sorted(one.models),
        "created_at": one.created_at.isoformat(),
        "expires_at": one.expires_at and one.expires_at.isoformat(),
        "revoked_at": one.revoked_at and one.revoked_at.isoformat(),
        "used_at": one.used_at and one.used_at.isoformat(),
    }


def _models_of(one: KeyRecord) -> str:
    return "for all models" if one.models is None else f"for {', '.join(sorted(one.models))}"


def _lasting(one: KeyRecord) -> str:
    return "until it is revoked" if one.expires_at is None else f"until {_day(one.expires_at)}"


def _day(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")
