"""Which server a command talks to, and in which form it answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ..client import Client, ClientError, Model
from ..client.aio import DEFAULT_URL

F = TypeVar("F", bound=Callable[..., Any])

_URL = "modelyard.cli.url"
_JSON = "modelyard.cli.json"
_CLIENT = "modelyard.cli.client"
_IMPORTING_S = 60.0


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
            help=f"The server's address (also MODELYARD_URL).  [default: {DEFAULT_URL}]",
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
        if value is not None:
            ctx.meta[key] = value
        return value

    return callback


def wants_json(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(_JSON))


def find_url(ctx: click.Context, rest: Sequence[str] = ()) -> str:
    """The server's address. `rest` are words not parsed yet, in which `--url` may stand."""
    for position, word in enumerate(rest):
        if word == "--":
            break
        if word.startswith("--url="):
            return word.removeprefix("--url=")
        if word == "--url" and position + 1 < len(rest):
            return rest[position + 1]
    return str(ctx.meta.get(_URL) or os.environ.get("MODELYARD_URL") or DEFAULT_URL)


def client_of(ctx: click.Context, rest: Sequence[str] = ()) -> Client:
    """The connection of this command; closed when the command ends."""
    root = ctx.find_root()
    url = find_url(ctx, rest)
    kept = root.meta.get(_CLIENT)
    if kept is not None and kept[0] == url:
        client: Client = kept[1]
        return client
    client = root.with_resource(Client(url))
    root.meta[_CLIENT] = (url, client)
    return client


def dataset_told(client: Client, dataset: str | None) -> str | None:
    """A dataset by its name and number beside its id, as long as the server has it."""
    if dataset is None:
        return None
    try:
        return f"{client.dataset(dataset).reference}  {dataset}".strip()
    except ClientError:
        return dataset


def described(client: Client, name: str) -> Model:
    """The model with its description; one that is still being imported is waited for.

    Raises ClientError if it has none, with the reason.
    """
    deadline = time.monotonic() + _IMPORTING_S
    model = client.model(name)
    if model.description is None and model.state == "importing":
        click.echo(f"The model {name} is being loaded ...", err=True)
    while model.description is None and model.state == "importing":
        if time.monotonic() > deadline:
            break
        time.sleep(0.3)
        model = client.model(name)
    if model.description is None:
        reason = model.error or f"it is {model.state}"
        raise ClientError(f"The model {name} cannot be used now: {reason}")
    return model
