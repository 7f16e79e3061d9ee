"""The server that a command talks to."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from ..client import Client, ClientError, Model
from ..client.aio import DEFAULT_URL
from .server_options import find_url

_CLIENT = "modelyard.cli.client"
_IMPORTING_S = 60.0


def client_of(ctx: click.Context, rest: Sequence[str] = ()) -> Client:
    """The connection of this command; closed when the command ends."""
    root = ctx.find_root()
    url = find_url(ctx, rest) or DEFAULT_URL
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
