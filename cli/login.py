"""`modelyard login` and `logout`: what this user shows to a server."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from ..addresses import is_loopback_host
from ..client import Challenge, Client, ClientError, NotPermitted
from .connection import client_of
from .server_options import connection_options, wants_json


@click.command()
@click.option(
    "--key",
    "with_key",
    is_flag=True,
    help="Keep an API key, which is asked for (or read from standard input), and not a token.",
)
@click.option(
    "--client-id", metavar="ID", help="Client at the issuer, where the server does not tell it."
)
@connection_options
@click.pass_context
def login(ctx: click.Context, with_key: bool, client_id: str | None) -> None:
    """Sign in to a server, for the other commands and the Python client.

    Shows an address and a code: open the address on any device, sign in there, and type the code
    (RFC 8628). What comes of it is kept in ~/.config/modelyard/credentials.json (or where
    MODELYARD_CREDENTIALS says), for this server only, and renewed by itself; MODELYARD_TOKEN in the
    environment wins over it.
    """
    client = client_of(ctx)
    parts = urlsplit(client.url)
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        click.echo(f"{client.url} is not https: who listens on the way can read it.", err=True)
    if with_key:
        key = click.prompt("Key", hide_input=True, prompt_suffix=": ", err=True).strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise click.UsageError(
                "That is no key: it is one word, as `modelyard keys` printed it."
            )
        _check(client.url, key)
        client.keep_key(key)
    else:
        client.sign_in(_show, client_id=client_id)
    if not wants_json(ctx):
        click.echo(f"Signed in to {client.url}.")


def _check(url: str, key: str) -> None:
    """Asks the server whether it knows the key; raises ClientError if not: nothing is kept then."""
    with Client(url, token=key) as client:
        try:
            client.models()
        except NotPermitted as refusal:
            if refusal.status == 401:
                raise ClientError(
                    f"{url} does not take this key, which was not kept: it is mistyped, revoked or "
                    "expired, or of another server."
                ) from refusal
            # 403: it is known, and may do something else than to see models.


def _show(challenge: Challenge) -> None:
    click.echo(f"Open  {challenge.address}\nand type the code  {challenge.code}", err=True)
    if challenge.complete_address:
        click.echo(f"(or open  {challenge.complete_address})", err=True)


@click.command()
@connection_options
@click.pass_context
def logout(ctx: click.Context) -> None:
    """Forget what `login` has kept for a server. A token is ended at its issuer, if that can be."""
    client = client_of(ctx)
    gone = client.sign_out()
    click.echo(f"Signed out of {client.url}." if gone else f"Nothing was kept for {client.url}.")
