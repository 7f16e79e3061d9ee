"""The options of every command that talks to a server: which one, and how it answers.

Nothing here knows the client: `serve` has these options too, and its process is to stay small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_URL = "modelyard.cli.url"
_JSON = "modelyard.cli.json"


def connection_options(command: F) -> F:
    """Adds `--url` and `--json`; they may stand before or after a command's name."""
    for option in reversed(make_connection_options()):
        params = command.__dict__.setdefault("__click_params__", [])
        params.append(option)
    return command


def json_option(command: F) -> F:
    """Adds `--json` alone, to a command that asks no server."""
    command.__dict__.setdefault("__click_params__", []).append(make_connection_options()[1])
    return command


def make_connection_options() -> list[click.Option]:
    """The two options themselves, for commands that are made at run time."""
    return [
        click.Option(
            ["--url"],
            metavar="URL",
            expose_value=False,
            is_eager=True,
            callback=_keep(_URL),
            help="The server's address (also MODELYARD_URL).  [default: http://127.0.0.1:5000]",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            default=None,
            expose_value=False,
            is_eager=True,
            callback=_keep(_JSON),
            help="Write JSON, for programs.",
        ),
    ]


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
        if value == "":
            raise click.BadParameter("it is empty: name a server, or leave it out.")
        if value is not None:
            ctx.meta[key] = value
        return value

    return callback


def wants_json(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(_JSON))


def find_url(ctx: click.Context, rest: Sequence[str] = ()) -> str | None:
    """The server's address, if it was said; `rest` are words not parsed yet, which may say it."""
    for position, word in enumerate(rest):
        if word == "--":
            break
        if word.startswith("--url="):
            return word.removeprefix("--url=")
        if word == "--url" and position + 1 < len(rest):
            return rest[position + 1]
    return ctx.meta.get(_URL) or os.environ.get("MODELYARD_URL") or None
