"""Weights versions on the command line: which one is meant, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from ..client import Client, ClientError, NotFound, Weights
from . import printing
from .connection import dataset_told

LATEST = "latest"
_BEGINNING = re.compile(r"[0-9a-f]{6,31}\Z")


def find(client: Client, model: str, name: str) -> Weights:
    """The version that an id, an alias, or the first six characters or more of an id name.

    Raises ClientError.
    """
    try:
        return client.weights_version(model, name)
    except NotFound:
        if not _BEGINNING.match(name):
            raise
        found = [one for one in client.weights(model) if one.id.startswith(name)]
        if len(found) == 1:
            return client.weights_version(model, found[0].id)  # a list leaves the files out
        if not found:
            raise
        raise ClientError(f"More than one version of {model} begins with {name}.") from None


def write(ctx_json: bool, client: Client, version: Weights) -> None:
    """One version, whole; for people, with the name of its dataset."""
    if ctx_json:
        printing.print_json(data_of(version))
        return
    rows = [
        ("version", f"{version.id}"),
        ("model", version.model),
        ("state", state_of(version)),
        ("aliases", ", ".join(version.aliases)),
        ("tags", ", ".join(version.tags)),
        ("notes", version.notes),
        ("created", printing.moment(version.created_at)),
        ("origin", version.origin),
        ("run", version.run),
        ("step", version.step),
        ("checkpoint", version.checkpoint),
        ("metrics", printing.metrics(version.metrics)),
        ("parent", version.parent),
        ("dataset", dataset_told(client, version.dataset)),
        ("size", printing.size(version.size)),
        *(("file", f"{file.path}  {printing.size(file.size)}") for file in version.files),
    ]
    printing.print_table(("", ""), [row for row in rows if row[1] not in (None, "")], "")


def state_of(version: Weights) -> str:
    """`ready`, `ready, in the store only`, `publishing 12.0 MB of 90.1 MB: the store is away`."""
    told = version.state
    if version.transfer is not None:
        done, total = version.transfer.done, version.transfer.total
        told += f" {printing.size(done)} of {printing.size(total)}"
    if not version.local:
        told += ", in the store only"
    return f"{told}: {version.reason}" if version.reason else told


def data_of(version: Weights) -> Mapping[str, Any]:
    """For programs: what the server said."""
    return {**version.data, "model": version.model}


def in_data(value: Any) -> Any:
    """A dataclass of the client as JSON values."""
    return {
        name: item.isoformat() if isinstance(item, datetime) else item
        for name, item in vars(value).items()
    }


def model_argument(command: Any) -> Any:
    return click.argument("model")(command)


def version_argument(command: Any) -> Any:
    """`[VERSION]`: an id, its beginning, or an alias; `latest` if it is left out."""
    return click.argument("version", default=LATEST)(command)
